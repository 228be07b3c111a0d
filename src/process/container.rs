//! Whether otop itself lives in a container, by the marks that the runtimes leave, and how one gets the right to read
//! processes there. Knows nothing of the container that a worker may live in.

use crate::model::Pid;
use std::path::Path;

/// The kind of container that otop runs in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Container {
    Docker,
    Podman,
    Kubernetes,
    /// systemd-nspawn, LXC and others, which set `container` in the environment.
    Other,
}

impl Container {
    /// The one that otop runs in; None: no mark of any.
    pub fn here() -> Option<Container> {
        let set = |name| std::env::var_os(name).is_some();
        // The kubelet sets this in every pod, whatever runtime is below it.
        if set("KUBERNETES_SERVICE_HOST") {
            Some(Container::Kubernetes)
        } else if Path::new("/.dockerenv").exists() {
            Some(Container::Docker)
        } else if Path::new("/run/.containerenv").exists() {
            Some(Container::Podman)
        } else if set("container") {
            Some(Container::Other)
        } else {
            None
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Container::Docker => "a Docker container",
            Container::Podman => "a Podman container",
            Container::Kubernetes => "a Kubernetes pod",
            Container::Other => "a container",
        }
    }

    /// The program that starts containers of this kind; Docker's, where it is not known.
    pub fn runtime(self) -> &'static str {
        match self {
            Container::Podman => "podman",
            Container::Docker | Container::Kubernetes | Container::Other => "docker",
        }
    }

    /// What gives otop SYS_PTRACE here, the easiest first: what is asked of the running container before what needs
    /// a new one.
    pub fn ways_to_ptrace(self, pid: Pid) -> Vec<String> {
        let beside = |runtime: &str| {
            format!("{runtime} run -it --rm --pid=container:NAME --cap-add SYS_PTRACE IMAGE otop --pid {pid}")
        };
        match self {
            Container::Kubernetes => vec![
                format!(
                    "kubectl debug -it POD --image=IMAGE --target=CONTAINER --profile=sysadmin -- otop --pid {pid}"
                ),
                "securityContext: {capabilities: {add: [SYS_PTRACE]}} in the container's spec".to_owned(),
            ],
            Container::Podman => vec!["podman run --cap-add SYS_PTRACE …".to_owned(), beside("podman")],
            Container::Docker | Container::Other => {
                vec!["docker run --cap-add SYS_PTRACE …".to_owned(), beside("docker")]
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_runtime_has_its_own_way() {
        let first = |container: Container| container.ways_to_ptrace(Pid(7)).remove(0);
        assert!(first(Container::Docker).starts_with("docker run --cap-add SYS_PTRACE"));
        assert!(first(Container::Podman).starts_with("podman run --cap-add SYS_PTRACE"));
        let debug = first(Container::Kubernetes);
        assert!(
            debug.starts_with("kubectl debug") && debug.contains("--profile=sysadmin"),
            "{debug}"
        );
        assert!(
            Container::Docker
                .ways_to_ptrace(Pid(7))
                .iter()
                .any(|way| way.contains("--pid=container:"))
        );
    }
}
