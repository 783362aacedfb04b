"""PyTorch's side of `deno task bench:gpu`: the same sizes, f32 without TF32, eager."""
import json
import sys
import time

import torch
from torch import nn
from torch.nn import functional as F

sizes = json.loads(sys.argv[1])
device = "cuda" if torch.cuda.is_available() else "cpu"
torch.backends.cuda.matmul.allow_tf32 = False
torch.backends.cudnn.allow_tf32 = False


def wait():
    if device == "cuda":
        torch.cuda.synchronize()


def seconds(f):
    """The median of bursts, each as long as a tenth of a second or so."""
    f()
    wait()
    start = time.perf_counter()
    f()
    wait()
    count = max(1, min(1000, int(0.1 / max(time.perf_counter() - start, 1e-6))))
    found = []
    for _ in range(5):
        start = time.perf_counter()
        for _ in range(count):
            f()
        wait()
        found.append((time.perf_counter() - start) / count)
    return sorted(found)[2]


class Block(nn.Module):
    def __init__(self, features, heads):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(features), nn.LayerNorm(features)
        self.qkv, self.out = nn.Linear(features, 3 * features), nn.Linear(features, features)
        self.up, self.down = nn.Linear(features, 4 * features), nn.Linear(4 * features, features)

    def forward(self, x):
        b, t, c = x.shape
        parts = self.qkv(self.norm1(x)).view(b, t, 3, self.heads, c // self.heads)
        q, k, v = parts.permute(2, 0, 3, 1, 4)
        if hasattr(F, "scaled_dot_product_attention"):
            y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        else:
            mask = torch.ones(t, t, dtype=torch.bool, device=x.device).tril()
            scores = (q @ k.transpose(-2, -1)) / (c // self.heads) ** 0.5
            y = scores.masked_fill(~mask, float("-inf")).softmax(-1) @ v
        x = x + self.out(y.transpose(1, 2).reshape(b, t, c))
        return x + self.down(F.gelu(self.up(self.norm2(x)), approximate="tanh"))


class GPT(nn.Module):
    def __init__(self, layers, features, heads, context, vocabulary, **_):
        super().__init__()
        self.tokens, self.places = nn.Embedding(vocabulary, features), nn.Embedding(context, features)
        self.blocks = nn.Sequential(*[Block(features, heads) for _ in range(layers)])
        self.norm = nn.LayerNorm(features)

    def forward(self, x):
        h = self.tokens(x) + self.places(torch.arange(x.shape[1], device=x.device))
        return self.norm(self.blocks(h)) @ self.tokens.weight.T


def step():
    gpt = sizes["gpt"]
    model = GPT(**gpt).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    shape = (gpt["batch"], gpt["context"])
    x, y = (torch.randint(gpt["vocabulary"], shape, device=device) for _ in range(2))

    def run():
        loss = F.cross_entropy(model(x).flatten(0, 1), y.flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return seconds(run)


n, columns = sizes["matmul"], sizes["columns"]
a, b = torch.randn(n, n, device=device), torch.randn(n, n, device=device)
x, z = torch.randn(sizes["elements"], device=device), torch.randn(sizes["elements"], device=device)
y = torch.randn(sizes["rows"], columns, device=device)
scale, bias = torch.ones(columns, device=device), torch.zeros(columns, device=device)
with torch.no_grad():
    times = {
        "matmul": seconds(lambda: a @ b),
        "gelu": seconds(lambda: F.gelu(x, approximate="tanh")),
        "add": seconds(lambda: x + z),
        "softmax": seconds(lambda: y.softmax(-1)),
        "layer norm": seconds(lambda: F.layer_norm(y, (columns,), scale, bias)),
        "sum of columns": seconds(lambda: y.sum(0)),
    }
times["GPT step"] = step()
name = torch.cuda.get_device_name() if device == "cuda" else "CPU"
print(json.dumps({"version": f"{torch.__version__} on {name}", "times": times}))
