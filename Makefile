.PHONY: help setup demo test test-kmod bench docs provider install

help:
	@echo "make demo   brings up a file system with Terraform and one with Ansible on this machine (KEEP=1 leaves it running)"
	@echo "make test   installs what is missing and runs everything that CI runs"
	@echo "make test-kmod  of that, what concerns the kernel module: lint, and a virtual machine with a real kernel"
	@echo "make bench  runs the benchmarks; each ends with a line RESULT name=... ratio=... goal=..."
	@echo "make provider  packs the Terraform provider for sites without a registry, into target/provider"
	@echo "make install  builds the daemons for release and installs them with their systemd units (DESTDIR=/stage stages them)"
	@echo "make docs   regenerates the checked-in references"

setup:
	@tools/setup

demo: setup
	@tools/demo

test: setup
	cargo xtask ci

test-kmod: setup
	kmod/lint
	cargo build --locked --package lustre-mgs --package mgsctl --package lustre-agent --package lustre-modules --bins
	cargo nextest run --locked --package kproxy --package kmod-tests

bench: setup
	@tools/bench

docs:
	cargo xtask proto
	cargo xtask docs
	cargo xtask stubs
	UPDATE_OPENAPI=1 cargo test --quiet --package lustre-mgs --test openapi
	UPDATE_OPENAPI=1 cargo test --quiet --package lustre-agent --test openapi

provider:
	cargo xtask provider-mirror

install:
	@tools/install
