"""The paper's advanced path as a reader would write it, beside ours: same film, same weights.

    python benchmarks/literal.py footage.mp4 [--frames 20] [--rounds 3] [--set KEY=VALUE]

literal  one frame after the other, in one process: OpenCV reads and writes, `model.predict`, three
         nested GradientTapes over the whole network, scikit-learn's K-means over all pixels with
         ten restarts, pydensecrf with ten iterations
ours     rustvid.run with refine.method=advanced, sample.every=1

The weights (rustseg-lite), precision, CRF and sizes are the same, the threshold is 0 for both, so
every frame is refined. Both are measured once in every round, on the same frames, one after the
other in turning order; weights and first passes are not counted, our worker processes' start is.

"The same masks" needs care, for the two do not compute the same everywhere:
- A tape that differentiates a gradient sums over its elements, so nested tapes give row sums of the
  Hessian where eq. 7 has its diagonal; ours is eq. 7. The heat maps are compared by correlation,
  and the tapes' with the row sums in closed form, which shows that this is all the difference.
- Ours fits K-means on 8192 pixels from one start. So "settings agree" means: the literal heat map,
  refined by both, with the same threshold, erosion and CRF. The masks are compared by IoU.
- End to end, both differences and the way a frame is reduced to 572 × 572 come together; that IoU
  is reported too.
"""

if __name__ == "__main__":  # worker processes import this file again: it loads nothing for them
    from literal_method import main

    main()
