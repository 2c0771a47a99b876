"""Segmentation of any text query, trained on image-caption pairs with a frozen CLIP: TCL and CoDe.

- TCL: Cha, Mun and Roh, "Learning to Generate Text-grounded Mask for Open-world Semantic Segmentation from
  Only Image-Text Pairs", CVPR 2023, https://arxiv.org/abs/2212.00785; https://github.com/kakaobrain/tcl.
  Class `TCL` in `tcl.py`.
- CoDe: Wu et al., "Image-Text Co-Decomposition for Text-Supervised Semantic Segmentation", CVPR 2024,
  https://arxiv.org/abs/2404.04231; https://github.com/072jiajia/Image-Text-Co-Decomposition. Class `CoDe` in
  `codecomp.py`. It extends TCL, and most files serve both:

| file | content | TCL | CoDe |
|---|---|---|---|
| `grounding.py` | frozen CLIP with the image segmenter; inference with PAMR and KP | x | x |
| `image_segmenter.py` | TCL's grounder (CoDe: image segmenter): features, masks, Gumbel sigmoid | x | x |
| `gated_decoder.py` | gated convolutions that upsample CLIP's patch features | x | x |
| `losses.py` | contrast of pooled features, total variation, area; loss of the text segmenter | x | x |
| `info_nce.py` | symmetric InfoNCE over the pairs of all ranks | x | x |
| `image_random.py` | random numbers per image, independent of batch and ranks | x | x |
| `region_word_prompts.py` | learned prompts outside an image segment or a word segment | | x |
| `text_segmenter.py` | word segments: which tokens of a caption belong to which noun | | x |
| `noun_prompt.py` | learned context vectors before a noun | | x |
| `nouns.py` | noun extraction from captions: NLTK, or a fixed vocabulary | | x |
| `noun_sampling.py` | random choice of nouns and templates for one caption | | x |
"""
