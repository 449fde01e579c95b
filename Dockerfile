# syntax=docker/dockerfile:1
# The image of Skiff: one binary, the libraries that it is linked with, and the certificate authorities. No shell.
#
#   docker build -t registry.example.com/skiff:0.1.0 .
#
# The same commit gives the same binary: the toolchain and the crates are pinned (pin the base image by its digest too,
# with --build-arg RUST=docker.io/library/rust@sha256:…), and neither paths nor times get into it.
ARG RUST=docker.io/library/rust:1.90-bookworm

FROM ${RUST} AS build
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates libssl-dev pkg-config zlib1g-dev \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /source
COPY . .
ARG SOURCE_DATE_EPOCH=0
ENV CARGO_INCREMENTAL=0 \
    RUSTFLAGS="--remap-path-prefix=/source=. --remap-path-prefix=/usr/local/cargo=cargo" \
    CFLAGS="-ffile-prefix-map=/source=. -ffile-prefix-map=/usr/local/cargo=cargo" \
    CXXFLAGS="-ffile-prefix-map=/source=. -ffile-prefix-map=/usr/local/cargo=cargo"
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    cargo build --release --locked --bin skiff
RUN SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH} deploy/image/collect target/release/skiff /image

# For pipelines: `docker build --target ci`. Skiff with a shell and the tools that the steps of deploy/tekton call.
FROM docker.io/library/debian:bookworm-slim AS ci
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates curl git jq libssl3 libstdc++6 zlib1g \
    && rm -rf /var/lib/apt/lists/*
COPY --from=build /source/target/release/skiff /usr/bin/skiff
USER 65532:65532

FROM scratch
COPY --from=build /image /
USER 65532:65532
# Metrics and probes.
EXPOSE 8082
ENTRYPOINT ["/usr/bin/skiff"]
CMD ["agent"]
