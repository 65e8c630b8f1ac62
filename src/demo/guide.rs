//! What the demo prints for the person in front of it: where to look, and what to try.
//!
//! Every command is complete: it can be copied as it stands and answers about something that exists.

use super::driver::Tally;
use super::timeline::version;
use super::world::World;

/// The page that is printed once the history is in.
pub fn page(world: &World, base: &str, days: f64, prod_build: u32, sent: &Tally) -> String {
    let workload = &world.workloads[0].name;
    let version = version(prod_build);
    let days = if days == 1.0 { "1 day".to_string() } else { format!("{days} days") };
    let (hosts, reconcilers, targets) = (world.hosts.len(), world.reconcilers.len(), world.targets.len());
    let sql = format!(
        "SELECT environment, deployed_version, status, sum(hosts) AS hosts FROM environment_state \
         WHERE workload = '{workload}' GROUP BY 1, 2, 3 ORDER BY 1, 2, 3"
    );
    [
        String::new(),
        format!("The hub is at {base}: {hosts} hosts, {reconcilers} reconcilers, {targets} deployment targets,"),
        format!("{days} of history in {} statements.", sent.items),
        String::new(),
        format!("  {base}/docs                              the API, to browse and try"),
        format!("  {base}/api/v1/views/environment-state    which version is where"),
        format!("  {base}/api/v1/views/drift                what is not as wanted"),
        String::new(),
        "Three things to try in another terminal:".to_string(),
        String::new(),
        "  # may I promote? is this version live everywhere in prod".to_string(),
        format!("  curl '{base}/api/v1/rollouts/status?environment=prod&workload={workload}&version={version}'"),
        String::new(),
        "  # how do environments differ, in SQL".to_string(),
        format!("  curl -G {base}/api/v1/sql -H 'Accept: text/csv' --data-urlencode \"q={sql}\""),
        String::new(),
        "  # the state of one environment".to_string(),
        format!("  curl '{base}/api/v1/views/environment-state?environment=prod&workload={workload}'"),
        String::new(),
    ]
    .join("\n")
}

/// The line that ends a run.
pub fn summary(tally: &Tally, seconds: f64) -> String {
    let mut line = format!(
        "{} statements in {seconds:.1} s ({:.0} per second): {} accepted, {} unchanged, {} rejected; \
         requests p50 {:.1} ms, p99 {:.1} ms; waited {} times for the hub",
        tally.items,
        tally.items as f64 / seconds.max(0.001),
        tally.accepted,
        tally.unchanged,
        tally.rejected,
        tally.percentile(50).as_secs_f64() * 1e3,
        tally.percentile(99).as_secs_f64() * 1e3,
        tally.waits,
    );
    if let Some(refusal) = &tally.first_refusal {
        line.push_str(&format!("\nfirst refusal: {refusal}"));
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_names_a_version_and_holds_three_commands() {
        let world = World::new(1, 20);
        let page = page(&world, "http://127.0.0.1:8080", 3.0, 7, &Tally::default());
        assert_eq!(page.matches("\n  curl ").count(), 3);
        assert!(page.contains("version=1.7.0"));
        assert!(page.contains("3 days of history"));
        assert!(page.contains("http://127.0.0.1:8080/docs"));
    }

    #[test]
    fn a_refusal_is_shown_with_the_figures() {
        let tally = Tally { rejected: 1, first_refusal: Some("what was wrong".into()), ..Tally::default() };
        assert!(summary(&tally, 1.0).ends_with("first refusal: what was wrong"));
    }
}
