"""The Performer: causal FAVOR+ attention with forgetting, in a full, a chunked and a streaming form.

Owns the projections and feature maps (``favor``), the three equal forms of attention (``attention``), the
whole model (``performer``), its streaming state (``stream``), the training objective (``loss``), and the
streaming step without torch (``kernel``). May import ``bot.domain``; tensors in, tensors out, no files.
``config`` and ``kernel`` do not import torch, so a daemon that only streams never loads torch. What each part
adds to the forecasts that ship, and that attention adds little there, stands in ``bot help models``. Read
``favor`` first, then ``attention``, then ``performer``.
"""
