//! Whether otop itself lives in a container, by the marks that the runtimes leave, and how one gets the right to read
//! processes there. Knows nothing of the container that a worker may live in.

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

    /// It is one of those whose images have no more in them than the program needs, and whose root has few rights.
    pub fn is_a_runtimes(self) -> bool {
        self != Container::Other
    }

    /// What gives otop these capabilities here, where it runs as root, the easiest first: what is asked of the running
    /// container before what needs a new one. `whom`: otop's arguments, behind a blank.
    pub fn ways_to(self, capabilities: &[&str], whom: &str) -> Vec<String> {
        let added: String = capabilities.iter().map(|name| format!(" --cap-add {name}")).collect();
        match self {
            Container::Kubernetes => vec![
                debug(whom),
                format!(
                    "securityContext: {{capabilities: {{add: [{}]}}}} in the container's spec",
                    capabilities.join(", ")
                ),
            ],
            Container::Podman | Container::Docker | Container::Other => {
                let runtime = self.runtime();
                vec![
                    format!("{runtime} run{added} …"),
                    format!("{runtime} run -it --rm --pid=container:NAME{added} IMAGE otop{whom}"),
                ]
            }
        }
    }

    /// For who is not root here, whom no capability reaches that is added to the container: what runs otop as root with
    /// this one. `may_have`: the container's root has it.
    pub fn ways_to_be_root(self, may_have: bool, capability: &str, whom: &str) -> Vec<String> {
        let runtime = self.runtime();
        match self {
            Container::Kubernetes => vec![
                debug(whom),
                format!(
                    "securityContext: {{runAsUser: 0, capabilities: {{add: [{capability}]}}}} in the container's spec"
                ),
            ],
            _ if may_have => vec![format!("{runtime} exec -it -u 0 CONTAINER otop{whom}")],
            _ => vec![format!(
                "{runtime} run -it --rm -u 0 --pid=container:NAME --cap-add {capability} IMAGE otop{whom}"
            )],
        }
    }

    /// What runs otop as this user and group here; None: nothing lets one choose.
    pub fn way_to_be(self, user: &str, whom: &str) -> Option<String> {
        match self {
            Container::Kubernetes => None,
            _ => Some(format!("{} exec -it -u {user} CONTAINER otop{whom}", self.runtime())),
        }
    }
}

/// A container beside the pod's own, as privileged as there is.
fn debug(whom: &str) -> String {
    format!("kubectl debug -it POD --image=IMAGE --target=CONTAINER --profile=sysadmin -- otop{whom}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_runtime_has_its_own_way() {
        let first = |container: Container| container.ways_to(&["SYS_PTRACE"], " --pid 7").remove(0);
        assert!(first(Container::Docker).starts_with("docker run --cap-add SYS_PTRACE"));
        assert!(first(Container::Podman).starts_with("podman run --cap-add SYS_PTRACE"));
        let debug = first(Container::Kubernetes);
        assert!(
            debug.starts_with("kubectl debug") && debug.contains("--profile=sysadmin"),
            "{debug}"
        );
        assert!(
            Container::Docker
                .ways_to(&["SYS_PTRACE"], " --pid 7")
                .iter()
                .any(|way| way.contains("--pid=container:"))
        );
    }

    #[test]
    fn who_is_not_root_is_led_to_root_and_not_to_a_capability_alone() {
        let first =
            |container: Container, may_have| container.ways_to_be_root(may_have, "SYS_NICE", " --pid 7").remove(0);
        assert_eq!(
            first(Container::Docker, true),
            "docker exec -it -u 0 CONTAINER otop --pid 7"
        );
        assert_eq!(
            first(Container::Podman, false),
            "podman run -it --rm -u 0 --pid=container:NAME --cap-add SYS_NICE IMAGE otop --pid 7"
        );
        assert!(first(Container::Kubernetes, false).starts_with("kubectl debug"));
        assert_eq!(
            Container::Docker.ways_to(&["SYS_PTRACE", "DAC_READ_SEARCH"], "")[0],
            "docker run --cap-add SYS_PTRACE --cap-add DAC_READ_SEARCH …"
        );
    }
}
