# An image with vidcnn and all that it depends on, for Kubernetes and for launcher files:
#
#   docker build -t registry.example.com/vidcnn:1 .
#
# torch brings the libraries of CUDA along; machines need NVIDIA's driver alone. A cluster and the machine that sends jobs
# to it need the same Ray and the same minor version of Python: build with --build-arg PYTHON=3.11 --build-arg RAY=2.60.0.
ARG PYTHON=3.12
FROM python:${PYTHON}
ARG RAY=2.60.0
COPY pyproject.toml README.md LICENSE /src/
COPY vidcnn /src/vidcnn
RUN pip install --no-cache-dir /src "ray[data,default,train]==${RAY}"
