"""The loss of speech synthesis (section 3.1.6), after Transformer TTS (Li et al. 2019).

Shapes: B utterances, T steps, F values a frame, D channels from which frames are predicted.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class SpeechSynthesis(nn.Module):
    """Predicts at every position the next frame, and whether the utterance stops.

    Position 0 is the dummy vector and predicts the first frame. Each further position is a frame
    and predicts the frame after it; the last real one predicts that the utterance stops. The input
    must be causal.

    *Assumed*, since the paper says only that both predictions are compared with the truth: squared
    error of normalised frames (Tacotron 2), cross entropy of stop tokens in which the last position
    counts `stop_weight` times (Transformer TTS: 5 to 8), and equal weights of both. Transformer
    TTS's post-net, which refines a whole predicted spectrogram, is left out.
    """

    def __init__(self, width: int, frame_dim: int, stop_weight: float) -> None:
        super().__init__()
        self.frame = nn.Linear(width, frame_dim)
        self.stop = nn.Linear(width, 1)
        self.stop_weight = stop_weight

    def losses(self, x: Tensor, frames: Tensor, frame_mask: Tensor) -> Tensor:
        """(B,) losses of (B, 1 + T, D) inputs on (B, T, F) frames with their (B, T) mask.

        The loss of an utterance is the mean squared error over its values, plus the mean of the
        stop tokens' loss over its positions. So its length does not weigh it.
        """
        num_frames = frame_mask.sum(dim=1)
        error = (self.frame(x[:, :-1]) - frames).square().mean(dim=2)
        frame_loss = error.masked_fill(~frame_mask, 0).sum(dim=1) / num_frames

        # A position is real where its frame is; the dummy vector's always is.
        position_mask = F.pad(frame_mask, (1, 0), value=True)
        stops = torch.arange(x.shape[1], device=x.device) == num_frames[:, None]
        score = self.stop(x)[..., 0]
        surprise = torch.where(stops, self.stop_weight * F.softplus(-score), F.softplus(score))
        stop_loss = surprise.masked_fill(~position_mask, 0).sum(dim=1) / (num_frames + 1)
        return frame_loss + stop_loss
