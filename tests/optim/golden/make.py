"""Trajectories of PyTorch's optimizers, for tests/optim/golden_test.ts.

Run as `python3 tests/optim/golden/make.py` with torch 1.13 (Debian's python3-torch), then
`deno fmt tests/optim/golden`. Everything is float64. The problem is six numbers, pulled to their
targets by springs of very different strengths, with a force that changes from step to step:
gradient[i] = strength[i] * (x[i] - target[i]) + force[step][i].
"""
import inspect
import json
import math
import pathlib

import torch
import torch.optim.nadam as nadam

# 1.13 counts the momentum of a step twice in the product for the next step. Dozat's paper and
# PyTorch since 2.0 do not.
FAULT, FIXED = "mu_product * mu * mu_next", "mu_product * mu_next"
rule = inspect.getsource(nadam._single_tensor_nadam)
assert FAULT in rule, "this torch needs no mending: take the lines about NAdam out"
exec(rule.replace(FAULT, FIXED), vars(nadam))

STEPS = 50
START = [1.0, -2.0, 0.5, 3.0, 0.0, -0.25]
TARGET = [0.5, 1.0, -0.5, 2.5, 0.1, 4.0]
STRENGTH = [0.1, 0.5, 1.0, 2.0, 5.0, 8.0]
FORCE = [[round(0.5 * math.sin(1.7 * t + i), 6) for i in range(6)] for t in range(STEPS)]

O = torch.optim
CASES = {
    "sgd": (O.SGD, dict(lr=0.05)),
    "momentum": (O.SGD, dict(lr=0.02, momentum=0.9, dampening=0.3, weight_decay=0.01)),
    "nesterov": (O.SGD, dict(lr=0.02, momentum=0.9, nesterov=True)),
    "nesterov_l2": (O.SGD, dict(lr=0.02, momentum=0.8, nesterov=True, weight_decay=0.1)),
    "ascent": (O.SGD, dict(lr=0.01, momentum=0.5, weight_decay=0.1, maximize=True)),
    "adagrad": (O.Adagrad, dict(lr=0.3, lr_decay=0.02, initial_accumulator_value=0.1)),
    "adagrad_l2": (O.Adagrad, dict(lr=0.3, weight_decay=0.1, eps=1e-2)),
    "adadelta": (O.Adadelta, dict(lr=1.0, rho=0.9, eps=1e-3, weight_decay=0.01)),
    "adadelta_rate": (O.Adadelta, dict(lr=0.5, rho=0.8, eps=1e-2)),
    "rmsprop": (O.RMSprop, dict(lr=0.02, alpha=0.95)),
    "rmsprop_momentum": (O.RMSprop, dict(lr=0.01, alpha=0.95, momentum=0.8)),
    "rmsprop_centered": (O.RMSprop, dict(lr=0.02, alpha=0.9, eps=1e-2, centered=True)),
    "rmsprop_all": (
        O.RMSprop,
        dict(lr=0.01, alpha=0.9, eps=1e-3, weight_decay=0.1, momentum=0.5, centered=True),
    ),
    "adam": (O.Adam, dict(lr=0.1)),
    "adam_l2": (O.Adam, dict(lr=0.1, betas=(0.8, 0.99), weight_decay=0.1)),
    "adam_epsilon": (O.Adam, dict(lr=0.1, eps=0.1)),
    "adamw": (O.AdamW, dict(lr=0.1, weight_decay=0.1)),
    "amsgrad": (O.Adam, dict(lr=0.1, betas=(0.9, 0.9), amsgrad=True)),
    "amsgrad_l2": (O.Adam, dict(lr=0.1, betas=(0.8, 0.9), weight_decay=0.1, amsgrad=True)),
    "amsgradw": (O.AdamW, dict(lr=0.1, betas=(0.9, 0.9), weight_decay=0.1, amsgrad=True)),
    "adamax": (O.Adamax, dict(lr=0.1, betas=(0.9, 0.95))),
    "adamax_l2": (O.Adamax, dict(lr=0.1, eps=1e-2, weight_decay=0.1)),
    "nadam": (O.NAdam, dict(lr=0.1, momentum_decay=0.01)),
    "nadam_l2": (O.NAdam, dict(lr=0.05, betas=(0.8, 0.99), eps=1e-3, weight_decay=0.1)),
    "radam": (O.RAdam, dict(lr=0.1)),
    "radam_short": (O.RAdam, dict(lr=0.05, betas=(0.8, 0.95), weight_decay=0.01)),
}


def trajectory(kind, options):
    x = torch.tensor(START, dtype=torch.float64, requires_grad=True)
    strength = torch.tensor(STRENGTH, dtype=torch.float64)
    target = torch.tensor(TARGET, dtype=torch.float64)
    optimizer = kind([x], **options)
    path = []
    for force in FORCE:
        x.grad = strength * (x.detach() - target) + torch.tensor(force, dtype=torch.float64)
        optimizer.step()
        path.append([float(f"{v:.9g}") for v in x.detach().tolist()])
    return path


def rows(table):
    return "[\n" + ",\n".join(json.dumps(row) for row in table) + "\n]"


def write(name, fields):
    text = ",\n".join(f"{json.dumps(key)}: {value}" for key, value in fields.items())
    path = pathlib.Path(__file__).with_name(f"{name}.json")
    path.write_text("{\n" + text + "\n}\n")


write("problem", {
    "start": json.dumps(START),
    "target": json.dumps(TARGET),
    "strength": json.dumps(STRENGTH),
    "force": rows(FORCE),
})
for name, (kind, options) in CASES.items():
    source = f"torch {torch.__version__} {kind.__name__}"
    if kind is O.NAdam:
        source += f", {FAULT} read as {FIXED}"
    write(name, {
        "source": json.dumps(source),
        "options": json.dumps(options),
        "path": rows(trajectory(kind, options)),
    })
