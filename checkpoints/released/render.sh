#!/bin/sh
# Renders the chunk sets that the released model learned from and is calibrated on:
# render.sh MATERIAL NODRUMS FONTS AVL STEMS [MORE]
#   MATERIAL  folder with midi/, oneshots/ and manifest.csv      NODRUMS  recordings without drums and their manifest.csv
#   FONTS     the soundfonts of soundfonts.csv                   AVL      the two avldrums soundfonts alone
#   STEMS     productions as separate tracks, a folder each (tracks.csv names those whose file names mislead)
#   MORE      added to the seeds of what is learned from: other draws of the same songs (100 for dance 0.6)
# data/speech is made by speech.sh beside this file. About 40 minutes on two cores; a second call does only what is missing.
set -eu
material=$1 nodrums=$2 fonts=$3 avl=$4 stems=$5 more=${6:-0}
midi() {
    from=$1 name=$2
    shift 2
    python labelgen/midi.py "$from" --soundfonts "$fonts" --oneshots "$material/manifest.csv" --stems --out "data/chunks/$name" "$@"
}
python labelgen/patterns.py --songs 156 --seed $((1 + more)) --out data/midi/patterns-train
python labelgen/patterns.py --songs 36 --seed 2 --out data/midi/patterns-test
python labelgen/patterns.py --songs 240 --seed $((3 + more)) --out data/midi/patterns-train2
for split in train test; do
    python labelgen/drumless.py "$nodrums/manifest.csv" --split $split --out data/chunks/$split-drumless
done
midi "$material/midi/gmd" train-gmd --split train --chunks 2 --seed $((2 + more))
midi "$material/midi/gmd" train2-gmd --split train --variants 2 --chunks 4 --seed $((12 + more))
midi "$material/midi/gmd" train3-gmd --split train --chunks 3 --soundfont-drums 0 --seed $((22 + more))
for songs in mma-generated freedoom openmsx planetblupi; do
    midi "$material/midi/$songs" train-$songs --split train --chunks 3 --seed $((1 + more))
done
midi "$material/midi/mma-generated" train2-mma --split train --chunks 2 --seed $((11 + more))
midi data/midi/patterns-train train-patterns --split train --soundfont-drums .05 --variants 2 --chunks 2 --seed $((5 + more))
midi data/midi/patterns-train2 train2-patterns --split train --soundfont-drums .05 --chunks 2 --seed $((15 + more))
python labelgen/patterns.py --songs 72 --seed 9 --out data/midi/patterns-judge
midi data/midi/patterns-judge judge-patterns --split test --soundfont-drums 0 --chunks 1 --seed 9 # no threshold comes from these
midi "$material/midi/gmd" test-gmd --split test --chunks 1 --seed 3
midi data/midi/patterns-test test-patterns --split test --soundfont-drums 0 --chunks 1 --seed 6
for songs in mma-generated freedoom openmsx; do
    midi "$material/midi/$songs" test-$songs --split test --chunks 2 --seed 4
done
python labelgen/remix.py data/chunks/test-gmd data/chunks/test-drumless --out data/chunks/test-remix
python labelgen/solos.py --songs 156 --seed $((1 + more)) --out data/midi/solos
python labelgen/midi.py data/midi/solos --soundfonts "$fonts" --drumless --stems --seed $((31 + more)) --out data/chunks/train-solos
midi "$material/midi/gmd" train4-gmd --split train --chunks 1 --soundfont-drums 0 --percussion .6 --seed $((32 + more))
midi data/midi/patterns-train2 train4-patterns --split train --soundfont-drums 0 --machines .75 --percussion .3 --chunks 2 --seed $((25 + more))
python labelgen/multitrack.py "$stems" --tracks checkpoints/released/tracks.csv --licence CC0 --out data/chunks/train-stems
python labelgen/drumless.py data/speech/manifest.csv --split train --out data/chunks/train-speech
fonts=$avl
midi "$material/midi/gmd" train3-avl --split train --chunks 2 --soundfont-drums 1 --seed $((23 + more))
rooms=data/chunks/train-rooms
set -- data/chunks/train-gmd data/chunks/train3-avl data/chunks/train4-gmd data/chunks/train4-patterns data/chunks/train2-patterns \
    data/chunks/train-mma-generated data/chunks/train-freedoom
python labelgen/rooms.py "$@" --share .2 --out $rooms
python labelgen/rooms.py data/chunks/train-drumless --seed $((1 + more)) --out $rooms
python labelgen/rooms.py "$@" data/chunks/train-stems --share .2 --seed $((5 + more)) --out data/chunks/train2-rooms
python labelgen/rooms.py data/chunks/test-mma-generated data/chunks/test-freedoom data/chunks/test-openmsx data/chunks/test-patterns \
    data/chunks/test-remix data/chunks/test-drumless --share .25 --seed 77 --out data/chunks/test-rooms
