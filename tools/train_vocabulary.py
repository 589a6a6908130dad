# Copyright 2026 The mvreg_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Make the words of mvreg_ros/pairs/vocabulary.py on simulated flats, again after phi has changed.

    python -m tools.train_vocabulary SCENES ... --validation SCENES ... --features {cylinder,fpfh}

SCENES: folders that mvreg simulate has written, or patterns such as 'flats/s*'. The words are the
centres of k-means; a projection of where descriptors lie off them, and how much each of them
counts, are learned. For the scenes of validation it prints which share of the pairs that overlap
are among those that look most alike: with nothing learned, with the principal components in place
of the projection, and as learned.
"""

from __future__ import annotations

from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Sequence

from mvreg_ros.pairs.match_kernel import aggregated, match_kernel, projected
from mvreg_ros.pairs.vocabulary import digest_of, phi_of, Vocabulary, vocabulary_file
from mvreg_ros.register import MultiviewRegistration
from mvreg_ros.training.disturbance import disturbed
from mvreg_ros.training.likeness import (
    AggregatedScene,
    learn_likeness,
    principal_components,
    share_found,
    together,
)
from mvreg_ros.training.scenes import counted, overlaps, read_scenes, TrainingScene
from mvreg_ros.types import InputError
from scipy.cluster.vq import kmeans2
import torch
from torch import Tensor

WORDS = 256
DESCRIPTORS = 50  # of each fragment
CELL = 4.0  # voxels, of `overlaps`
FIRST = (3, 5, 10, 20)
SEED = 0


def described(pipeline: MultiviewRegistration, scene: TrainingScene) -> list[Tensor]:
    """Return the descriptors of each fragment of a scene, as rough as real ones."""
    fragments = [pipeline.prepare(disturbed(scene.fragment(k), scene.name, k, pipeline.voxel_size))
                 for k in range(len(scene))]
    found = pipeline.method.mapper.map(pipeline.method.descriptor, fragments)
    return [features.descriptors for features in found]


def sample(descriptors: Sequence[Tensor], generator: torch.Generator) -> Tensor:
    """Return some descriptors of each fragment."""
    return torch.cat([
        each[torch.randperm(len(each), generator=generator)[:DESCRIPTORS]]
        for each in descriptors])


def in_words(
    descriptors: Sequence[Tensor], scene: TrainingScene, words: Tensor, voxel_size: float
) -> AggregatedScene:
    """Return a scene as the words see it."""
    overlap = torch.zeros(len(scene), len(scene))
    for (i, j), share in overlaps(scene, CELL * voxel_size).items():
        overlap[i, j] = overlap[j, i] = share
    return AggregatedScene(torch.stack([aggregated(each, words) for each in descriptors]), overlap)


def main() -> None:
    """Describe the scenes, find the words, learn the rest, write the file of the package."""
    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument('scenes', nargs='+')
    parser.add_argument('--validation', nargs='+', required=True)
    parser.add_argument('--features', choices=('cylinder', 'fpfh'), required=True)
    args = parser.parse_args()
    try:
        scenes, validation = read_scenes(args.scenes), read_scenes(args.validation)
    except InputError as error:
        parser.error(str(error))
    pipeline = MultiviewRegistration.from_pretrained(features=args.features, device='cpu')
    descriptors = [described(pipeline, scene) for scene in [*scenes, *validation]]
    generator = torch.Generator().manual_seed(SEED)
    known = torch.cat([sample(each, generator) for each in descriptors[:len(scenes)]])
    centers, _ = kmeans2(known.double().numpy(), WORDS, iter=20, minit='points', seed=SEED)
    words = torch.from_numpy(centers).float()
    seen = [in_words(each, scene, words, pipeline.voxel_size)
            for each, scene in zip(descriptors, [*scenes, *validation], strict=True)]
    train, held_out = seen[:len(scenes)], together(seen[len(scenes):])
    projection, weights = learn_likeness(train)
    numbers = ', '.join(f'{number} {name}' for name, number in counted(scenes).items())
    vocabulary = Vocabulary(
        words, projection, weights, digest_of(phi_of(pipeline.method.descriptor)),
        f'k-means of {len(known)} descriptors of simulated flats: {numbers}; projection and '
        'weights learned there')
    vocabulary.save(vocabulary_file(args.features))
    print(f'{vocabulary_file(args.features)}: {len(words)} words, {projection.numel()} + '
          f'{weights.numel()} learned, {vocabulary.source}')
    equal, components = torch.ones(WORDS), principal_components(train, projection.shape[1])
    for name, vectors, used in (
        ('nothing learned', held_out.vectors, equal),
        ('principal components', projected(held_out.vectors, components), equal),
        ('as learned', projected(held_out.vectors, projection), weights),
    ):
        likeness = match_kernel(vectors, used)
        print(f'{name}:', *(
            f'{share_found(likeness, held_out.overlap, first):.3f} of {first}' for first in FIRST))


if __name__ == '__main__':
    main()
