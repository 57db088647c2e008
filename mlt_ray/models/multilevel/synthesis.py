"""The loss of speech synthesis (section 3.1.6), after Transformer TTS (Li et al. 2019).

Shapes: B utterances, T steps, F values a frame, D the width of what frames are predicted from.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class SpeechSynthesis(nn.Module):
    """Predicts the next frame and the end of the utterance at every position.

    Positions are the dummy vector's and those of the frames: the first predicts the first frame,
    each further one the frame after its own, and the last real one that the utterance stops. What
    is read must be causal.

    *Assumed*, since the paper says only that both predictions are compared with the truth: squared
    error of normalised frames (Tacotron 2's), cross entropy of stop tokens in which the last
    position counts `stop_weight` times (Transformer TTS: 5 to 8), and both of equal weight.
    Transformer TTS's post-net, which refines a whole predicted spectrogram, is left out.
    """

    def __init__(self, width: int, frame_dim: int, stop_weight: float) -> None:
        super().__init__()
        self.frame = nn.Linear(width, frame_dim)
        self.stop = nn.Linear(width, 1)
        self.stop_weight = stop_weight

    def loss(self, x: Tensor, frames: Tensor, frame_mask: Tensor, counted: Tensor) -> Tensor:
        """The loss of (B, 1 + T, D) on (B, T, F) frames with their (B, T) mask.

        The mean, over the utterances that are True in the (B,) `counted`, of: the squared error's
        mean over an utterance's values, plus the stop tokens' mean over its positions. So every
        utterance counts the same, however long it and its batch mates are.
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
        return (frame_loss + stop_loss).masked_fill(~counted, 0).sum() / counted.sum()
