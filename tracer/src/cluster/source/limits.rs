//! What a source may take of this machine. Each of them answers from outside, and may answer without
//! an end.

/// Bytes of a page of a list. One of 500 pods has a tenth of it; beyond, smaller pages are asked for.
pub(crate) const PAGE: usize = 16 << 20;

/// Bytes of a line of a watch. etcd keeps no object of more than 1.5 MiB.
pub(crate) const LINE: usize = 4 << 20;

/// Bytes of an error's body.
pub(crate) const ERROR: usize = 64 << 10;

/// Pages of a list: more than two million objects are not waited for.
pub(crate) const PAGES: usize = 5000;

/// Bytes that a credential plugin may print.
pub(crate) const PLUGIN_OUTPUT: usize = 1 << 20;

/// Bytes of a kubeconfig, and of each file that it names.
pub(crate) const KUBECONFIG: u64 = 4 << 20;

/// Bytes of an answer of the container runtime. What the kubelet takes, too; the default of gRPC is
/// less than the annotations of a full node.
pub(crate) const CRI_ANSWER: usize = 16 << 20;

/// Sandboxes of one node.
pub(crate) const SANDBOXES: usize = 10_000;

/// Updates on their way to the trace. A source that is faster waits.
pub(crate) const UPDATES: usize = 256;

/// Bytes that all objects of a source may take, as kept here: some 150,000 pods.
pub(crate) const HELD: usize = 256 << 20;

/// Notes of one source.
pub(crate) const NOTES: usize = 50;

/// Characters of a note.
pub(crate) const NOTE: usize = 1000;
