# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Find the words of mvreg_ros/pairs/vocabulary.py on simulated flats, again after phi has changed.

    python -m tools.train_vocabulary SCENES ... --features {cylinder,fpfh}

SCENES: folders that mvreg simulate has written, or patterns such as 'flats/s*'.
"""

from __future__ import annotations

from argparse import ArgumentParser, RawDescriptionHelpFormatter

from mvreg_ros.pairs.vocabulary import digest_of, phi_of, Vocabulary, vocabulary_file
from mvreg_ros.register import MultiviewRegistration
from mvreg_ros.training.disturbance import disturbed
from mvreg_ros.training.scenes import counted, read_scenes, TrainingScene
from scipy.cluster.vq import kmeans2
import torch
from torch import Tensor

WORDS = 256
DESCRIPTORS = 200  # of each fragment
SEED = 0


def sample(
    pipeline: MultiviewRegistration, scene: TrainingScene, generator: torch.Generator
) -> Tensor:
    """Return some descriptors of each fragment of a scene, as rough as real ones."""
    fragments = [pipeline.prepare(disturbed(scene.fragment(k), scene.name, k, pipeline.voxel_size))
                 for k in range(len(scene))]
    rows = []
    for found in pipeline.method.mapper.map(pipeline.method.descriptor, fragments):
        chosen = torch.randperm(len(found.descriptors), generator=generator)[:DESCRIPTORS]
        rows.append(found.descriptors[chosen])
    return torch.cat(rows)


def main() -> None:
    """Describe the scenes, find the words and write the file of the package."""
    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument('scenes', nargs='+')
    parser.add_argument('--features', choices=('cylinder', 'fpfh'), required=True)
    args = parser.parse_args()
    pipeline = MultiviewRegistration.from_pretrained(features=args.features, device='cpu')
    scenes = read_scenes(args.scenes)
    generator = torch.Generator().manual_seed(SEED)
    descriptors = torch.cat([sample(pipeline, scene, generator) for scene in scenes])
    words, _ = kmeans2(descriptors.double().numpy(), WORDS, iter=20, minit='points', seed=SEED)
    numbers = ', '.join(f'{number} {name}' for name, number in counted(scenes).items())
    vocabulary = Vocabulary(
        torch.from_numpy(words).float(), digest_of(phi_of(pipeline.method.descriptor)),
        f'k-means of {len(descriptors)} descriptors of simulated flats: {numbers}')
    vocabulary.save(vocabulary_file(args.features))
    print(f'{vocabulary_file(args.features)}: {len(words)} words, {vocabulary.source}')


if __name__ == '__main__':
    main()
