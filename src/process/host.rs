//! The host, for the header: the figures that `openrtc top` takes from psutil, computed as psutil does.

use crate::model::HostFacts;
use procfs::{Current, CurrentSI};
use std::time::Instant;

/// Remembers the last look, since CPU and network are rates.
#[derive(Default)]
pub struct Host {
    cpu: Option<CpuTicks>,
    network: Option<(Instant, u64)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct CpuTicks {
    busy: u64,
    total: u64,
}

impl Host {
    pub fn new() -> Host {
        Host::default()
    }

    /// CPUs of the host that run; None: `/proc/stat` is not to be seen, or names none.
    pub fn vcpus() -> Option<u32> {
        counted(procfs::KernelStats::current().ok()?.cpu_time.len())
    }

    /// The host now; rates since the last call, None at the first one.
    pub fn look(&mut self) -> HostFacts {
        let memory = procfs::Meminfo::current().ok();
        // In some containers "available" is more than there is; psutil then takes what is free.
        let available = memory.as_ref().map(|m| match m.mem_available {
            Some(available) if available <= m.mem_total => available,
            _ => m.mem_free,
        });
        let load = procfs::LoadAverage::current().ok();
        HostFacts {
            cpu_pct: self.cpu_pct(),
            mem_used_bytes: memory
                .as_ref()
                .zip(available)
                .map(|(m, available)| m.mem_total.saturating_sub(available)),
            mem_total_bytes: memory.as_ref().map(|m| m.mem_total),
            swap_used_bytes: memory.as_ref().map(|m| m.swap_total.saturating_sub(m.swap_free)),
            swap_total_bytes: memory.as_ref().map(|m| m.swap_total),
            // The file has two decimals; what a float of 32 bits adds to them is noise.
            load: load.map(|l| [l.one, l.five, l.fifteen].map(|l| (f64::from(l) * 100.0).round() / 100.0)),
            net_rate_bps: self.net_rate(),
        }
    }

    fn cpu_pct(&mut self) -> Option<f64> {
        let now = procfs::KernelStats::current().ok().map(|stats| ticks(&stats.total))?;
        let then = self.cpu.replace(now)?;
        busy_share(then, now)
    }

    fn net_rate(&mut self) -> Option<f64> {
        let devices = procfs::net::dev_status().ok()?;
        let bytes = devices
            .values()
            .filter(|device| device.name != "lo")
            .map(|device| device.recv_bytes.saturating_add(device.sent_bytes))
            .fold(0u64, u64::saturating_add);
        let now = Instant::now();
        let (then, before) = self.network.replace((now, bytes))?;
        let elapsed = now.duration_since(then).as_secs_f64();
        // A counter that went back belongs to an interface that left; there is no rate over that.
        (elapsed > 0.0 && bytes >= before).then(|| (bytes - before) as f64 / elapsed)
    }
}

fn counted(cpus: usize) -> Option<u32> {
    u32::try_from(cpus).ok().filter(|&cpus| cpus > 0)
}

/// Time of guests is in `user` already, so it is not added; waiting for a disk is idling.
fn ticks(cpu: &procfs::CpuTime) -> CpuTicks {
    let idle = cpu.idle.saturating_add(cpu.iowait.unwrap_or(0));
    let busy =
        cpu.user + cpu.nice + cpu.system + cpu.irq.unwrap_or(0) + cpu.softirq.unwrap_or(0) + cpu.steal.unwrap_or(0);
    CpuTicks {
        busy,
        total: busy.saturating_add(idle),
    }
}

fn busy_share(then: CpuTicks, now: CpuTicks) -> Option<f64> {
    let total = now.total.checked_sub(then.total).filter(|&total| total > 0)?;
    Some((now.busy.saturating_sub(then.busy) as f64 / total as f64 * 100.0).clamp(0.0, 100.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_busy_share_is_of_what_passed() {
        let then = CpuTicks { busy: 100, total: 1000 };
        assert_eq!(busy_share(then, CpuTicks { busy: 150, total: 1200 }), Some(25.0));
        assert_eq!(busy_share(then, then), None, "no time has passed");
        assert_eq!(
            busy_share(then, CpuTicks { busy: 90, total: 1100 }),
            Some(0.0),
            "a counter may step back"
        );
    }

    #[test]
    fn the_first_look_has_no_rates_and_the_second_has() {
        let mut host = Host::new();
        let first = host.look();
        assert_eq!((first.cpu_pct, first.net_rate_bps), (None, None));
        assert!(first.mem_total_bytes > first.mem_used_bytes);
        assert!(first.load.is_some() && Host::vcpus().is_some_and(|cpus| cpus >= 1));
        assert_eq!((counted(0), counted(2)), (None, Some(2)), "not known is not one");
        std::thread::sleep(std::time::Duration::from_millis(60));
        let second = host.look();
        assert!(second.net_rate_bps.is_some());
        assert!(second.cpu_pct.is_none_or(|share| (0.0..=100.0).contains(&share)));
    }
}
