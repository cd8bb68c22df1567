# Builds the program, and runs it as a user of its own: the broker, or with `worker …` as its arguments a worker.
FROM rust:1.95-trixie AS build
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/src/target \
    cargo build --release --locked --package pullyard-broker && cp target/release/pullyard /pullyard

FROM debian:trixie-slim
# Certificates for cloud backends, time zones for `hours`.
RUN apt-get update && apt-get install --yes --no-install-recommends ca-certificates tzdata && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 pullyard && install --directory --owner pullyard --mode 0700 /data
COPY --from=build /pullyard /usr/local/bin/pullyard
USER pullyard
ENV PULLYARD_DATA=/data
VOLUME /data
EXPOSE 8787
# A worker listens nowhere, so there is nothing to ask it; `pullyard workers` tells how it is.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s \
    CMD grep --quiet --null-data --line-regexp worker /proc/1/cmdline || pullyard ready
ENTRYPOINT ["pullyard"]
CMD ["serve"]
