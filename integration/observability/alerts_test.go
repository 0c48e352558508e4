package observability_test

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/internal/testutil"
)

// A story is what the series of each process of a fleet do, in steps of 30 s, and which alert that
// raises. Each begins with 20 minutes in which all is well.
type story struct {
	alert  string // empty: none
	when   []time.Duration
	series map[string]string                       // that differ from those of a healthy process, in the notation of promtool
	each   func(process int, values string) string // what process n of the fleet makes of the values of all its series; nil: nothing
}

// well is a healthy process: all series that the rules look at, for 20 minutes and 2 hours more.
func well() map[string]string {
	return map[string]string{
		`holdfast_breaker_state{kind="memcached",client="users",endpoint="a:1"}`:                       `0x280`,
		`holdfast_breaker_state{kind="redis",client="orders",endpoint="m"}`:                            `0x280`,
		`holdfast_breaker_state{kind="groupcache",client="pages",endpoint="http://b"}`:                 `0x280`,
		`holdfast_breaker_state{kind="autorefresh",client="prices",endpoint=""}`:                       `0x280`,
		`holdfast_breaker_state{kind="user",client="billing",endpoint=""}`:                             `0x280`,
		`holdfast_breaker_openings_total{kind="memcached",client="users",endpoint="a:1"}`:              `0x280`,
		`holdfast_breaker_openings_total{kind="redis",client="orders",endpoint="m"}`:                   `1x280`,
		`holdfast_breaker_openings_total{kind="user",client="billing",endpoint=""}`:                    `0x280`,
		`holdfast_memcached_endpoint_operations_total{client="users",endpoint="a:1",result="hit"}`:     `0+3000x280`,
		`holdfast_memcached_endpoint_operations_total{client="users",endpoint="a:1",result="timeout"}`: `0x280`,
		`holdfast_memcached_endpoint_operations_total{client="users",endpoint="a:1",result="busy"}`:    `0x280`,
		`holdfast_memcached_endpoint_operations_total{client="users",endpoint="a:1",result="refused"}`: `0x280`,
		`holdfast_memcached_operations_total{client="users",op="get",result="hit"}`:                    `0+2700x280`,
		`holdfast_memcached_operations_total{client="users",op="get",result="miss"}`:                   `0+300x280`,
		`holdfast_memcached_missed_invalidations_lost_total{client="users",endpoint="a:1"}`:            `0x280`,
		`holdfast_redis_primary_up{client="orders",endpoint="m"}`:                                      `1x280`,
		`holdfast_redis_sentinels_up{client="orders"}`:                                                 `3x280`,
		`holdfast_redis_sentinels_known{client="orders"}`:                                              `3x280`,
		`holdfast_redis_failovers_total{client="orders",endpoint="m",trigger="selected"}`:              `0x280`,
		`holdfast_redis_failovers_total{client="orders",endpoint="m",trigger="announced"}`:             `0x280`,
		`holdfast_redis_failovers_total{client="orders",endpoint="m",trigger="elected"}`:               `1x280`,
		`holdfast_redis_failovers_total{client="orders",endpoint="m",trigger="returned"}`:              `0x280`,
		`holdfast_redis_reverts_total{client="orders",endpoint="m"}`:                                   `0x280`,
		`holdfast_redis_fences_wasted_total{client="orders",endpoint="m"}`:                             `0x280`,
		`holdfast_autorefresh_stale_items{client="prices"}`:                                            `0x280`,
		`holdfast_autorefresh_lateness_seconds_bucket{client="prices",le="0.5"}`:                       `0+300x280`,
		`holdfast_autorefresh_lateness_seconds_bucket{client="prices",le="5"}`:                         `0+300x280`,
		`holdfast_autorefresh_lateness_seconds_bucket{client="prices",le="10"}`:                        `0+300x280`,
		`holdfast_autorefresh_lateness_seconds_bucket{client="prices",le="+Inf"}`:                      `0+300x280`,
		`holdfast_autorefresh_store_down{client="prices",endpoint="c:1"}`:                              `0x280`,
		`holdfast_autorefresh_watch_down{client="prices"}`:                                             `0x280`,
		`holdfast_autorefresh_stuck_calls{client="prices"}`:                                            `0x280`,
		`holdfast_groupcache_peer_missed_removes{client="pages",endpoint="http://b"}`:                  `0x280`,
		`holdfast_groupcache_peer_lost_removes_total{client="pages",endpoint="http://b"}`:              `0x280`,
		`holdfast_groupcache_peer_dropped_removes_total{client="pages",endpoint="http://b"}`:           `0x280`,
		`holdfast_groupcache_rejected_requests_total{client="pages",reason="unauthorised"}`:            `0x280`,
		`holdfast_groupcache_grpc_served_requests_total{client="pages",method="Get",result="refused"}`: `0x280`,
		`holdfast_groupcache_etcd_up{client="pages"}`:                                                  `1x280`,
		`holdfast_groupcache_etcd_registered{client="pages"}`:                                          `1x280`,
		`holdfast_groupcache_dns_lookups_total{client="pages",result="ok"}`:                            `0+6x280`,
		`holdfast_groupcache_dns_lookups_total{client="pages",result="failed"}`:                        `0x280`,
	}
}

const (
	stays  = `0x40 `            // 20 minutes at 0
	breaks = stays + `2x240`    // then open, or two of something
	grows  = stays + `0+60x240` // then 2 a second
	jumps  = stays + `9x240`    // then 9 at once
	fails  = `1x40 0x240`
)

func minutes(n ...int) (all []time.Duration) {
	for _, m := range n {
		all = append(all, time.Duration(m)*time.Minute)
	}
	return all
}

// stories has at least one for each alert, and those that must raise none.
func stories() map[string]story {
	one := func(alert string, when []time.Duration, series, values string) story {
		return story{alert: alert, when: when, series: map[string]string{series: values}}
	}
	return map[string]story{
		"memcached is gone":        one("MemcachedServerDown", minutes(23), `holdfast_breaker_state{kind="memcached",client="users",endpoint="a:1"}`, breaks),
		"memcached comes and goes": one("MemcachedServerFlapping", minutes(22), `holdfast_breaker_openings_total{kind="memcached",client="users",endpoint="a:1"}`, jumps),
		"memcached is slow": one("MemcachedServerSlow", minutes(32),
			`holdfast_memcached_endpoint_operations_total{client="users",endpoint="a:1",result="timeout"}`, grows),
		"memcached is busy": one("MemcachedServerBusy", minutes(32),
			`holdfast_memcached_endpoint_operations_total{client="users",endpoint="a:1",result="busy"}`, grows),
		"more writes missed than fit": one("MemcachedInvalidationsLost", minutes(22),
			`holdfast_memcached_missed_invalidations_lost_total{client="users",endpoint="a:1"}`, jumps),
		"memcached was flushed, and stays cold": {alert: "MemcachedHitRatioCollapsed", when: minutes(110), series: map[string]string{
			`holdfast_memcached_operations_total{client="users",op="get",result="hit"}`:  `0+2700x160 432000+100x120`,
			`holdfast_memcached_operations_total{client="users",op="get",result="miss"}`: `0+300x160 48000+2900x120`,
		}},
		"no primary":            one("RedisNoPrimary", minutes(22), `holdfast_redis_primary_up{client="orders",endpoint="m"}`, fails),
		"no sentinel answers":   one("RedisSentinelsUnheard", minutes(22), `holdfast_redis_sentinels_up{client="orders"}`, `3x40 0x240`),
		"one sentinel of three": one("RedisSentinelsFew", minutes(26), `holdfast_redis_sentinels_up{client="orders"}`, `3x40 1x240`),
		"primaries that die again and again": one("RedisFailoversOften", minutes(30),
			`holdfast_redis_failovers_total{client="orders",endpoint="m",trigger="announced"}`, `0x40 1x3 2x3 3x3 4x3 5x240`),
		"a promotion that nobody announced": one("RedisFailoverTakenBack", minutes(25), `holdfast_redis_reverts_total{client="orders",endpoint="m"}`, `0x40 1x240`),
		"failovers that do not happen":      one("RedisWritesFencedForNothing", minutes(25), `holdfast_redis_fences_wasted_total{client="orders",endpoint="m"}`, jumps),
		"the source is gone":                one("AutorefreshSourceDown", minutes(23), `holdfast_breaker_state{kind="autorefresh",client="prices",endpoint=""}`, breaks),
		"values are too old":                one("AutorefreshStale", minutes(22), `holdfast_autorefresh_stale_items{client="prices"}`, breaks),
		"refreshes are late": {alert: "AutorefreshLate", when: minutes(45), series: map[string]string{
			`holdfast_autorefresh_lateness_seconds_bucket{client="prices",le="0.5"}`: `0+300x40 12000x240`,
			`holdfast_autorefresh_lateness_seconds_bucket{client="prices",le="5"}`:   `0+300x40 12000x240`,
		}},
		"the second level is gone": one("AutorefreshStoreDown", minutes(23), `holdfast_autorefresh_store_down{client="prices",endpoint="c:1"}`, `0x40 1x240`),
		"changes are not heard of": one("AutorefreshWatchDown", minutes(23), `holdfast_autorefresh_watch_down{client="prices"}`, `0x40 1x240`),
		"calls that hang":          one("AutorefreshStuck", minutes(32), `holdfast_autorefresh_stuck_calls{client="prices"}`, breaks),
		"a peer is gone":           one("GroupcachePeerDown", minutes(23), `holdfast_breaker_state{kind="groupcache",client="pages",endpoint="http://b"}`, breaks),
		"removals wait":            one("GroupcacheRemovesMissed", minutes(26), `holdfast_groupcache_peer_missed_removes{client="pages",endpoint="http://b"}`, breaks),
		"removals do not fit":      one("GroupcacheRemovesLost", minutes(25), `holdfast_groupcache_peer_lost_removes_total{client="pages",endpoint="http://b"}`, jumps),
		"removals are answered by a proxy": one("GroupcacheRemovesDropped", minutes(25),
			`holdfast_groupcache_peer_dropped_removes_total{client="pages",endpoint="http://b"}`, jumps),
		"etcd is gone":         one("GroupcacheEtcdAway", minutes(26), `holdfast_groupcache_etcd_up{client="pages"}`, fails),
		"etcd takes no writes": one("GroupcacheNotRegistered", minutes(23), `holdfast_groupcache_etcd_registered{client="pages"}`, fails),
		"etcd took no writes from the start": one("GroupcacheNotRegistered", minutes(5),
			`holdfast_groupcache_etcd_registered{client="pages"}`, `0x280`),
		"DNS has no answer": {alert: "GroupcacheDNSFails", when: minutes(35), series: map[string]string{
			`holdfast_groupcache_dns_lookups_total{client="pages",result="ok"}`:     `0+6x40 240x240`,
			`holdfast_groupcache_dns_lookups_total{client="pages",result="failed"}`: `0x40 0+6x240`,
		}},
		"a secret was not changed everywhere": one("GroupcacheUnauthorised", minutes(30),
			`holdfast_groupcache_rejected_requests_total{client="pages",reason="unauthorised"}`, grows),
		"a certificate has expired": one("GroupcacheUnauthorised", minutes(30),
			`holdfast_groupcache_grpc_served_requests_total{client="pages",method="Get",result="refused"}`, grows),
		"a secret was not changed everywhere, over HTTP and gRPC": {alert: "GroupcacheUnauthorised", when: minutes(30), series: map[string]string{
			`holdfast_groupcache_rejected_requests_total{client="pages",reason="unauthorised"}`:            grows,
			`holdfast_groupcache_grpc_served_requests_total{client="pages",method="Get",result="refused"}`: grows,
		}},
		"a peer comes and goes":       one("DependencyFlapping", minutes(22), `holdfast_breaker_openings_total{kind="groupcache",client="pages",endpoint="http://b"}`, jumps),
		"a source comes and goes":     one("DependencyFlapping", minutes(22), `holdfast_breaker_openings_total{kind="autorefresh",client="prices",endpoint=""}`, jumps),
		"a dependency is gone":        one("DependencyDown", minutes(23), `holdfast_breaker_state{kind="user",client="billing",endpoint=""}`, breaks),
		"a dependency comes and goes": one("DependencyFlapping", minutes(22), `holdfast_breaker_openings_total{kind="user",client="billing",endpoint=""}`, jumps),
		"forgotten after a rehearsal": one("BreakerForcedOpen", minutes(81, 110), `holdfast_breaker_state{kind="memcached",client="users",endpoint="a:1"}`, `0x40 3x240`),

		"all is well": {when: minutes(0, 1, 5, 20, 45)},
		"the servers restart": {when: minutes(20, 21, 22, 23, 25, 30), series: map[string]string{
			`holdfast_breaker_state{kind="memcached",client="users",endpoint="a:1"}`:                       `0x40 2 1 0x238`,
			`holdfast_breaker_state{kind="groupcache",client="pages",endpoint="http://b"}`:                 `0x40 2 1 0x238`,
			`holdfast_breaker_state{kind="user",client="billing",endpoint=""}`:                             `0x40 2 1 0x238`,
			`holdfast_breaker_openings_total{kind="memcached",client="users",endpoint="a:1"}`:              `0x40 1x240`,
			`holdfast_breaker_openings_total{kind="user",client="billing",endpoint=""}`:                    `0x40 1x240`,
			`holdfast_memcached_endpoint_operations_total{client="users",endpoint="a:1",result="timeout"}`: `0x40 8x240`,
			`holdfast_memcached_endpoint_operations_total{client="users",endpoint="a:1",result="refused"}`: `0x40 5000x240`,
			`holdfast_autorefresh_store_down{client="prices",endpoint="c:1"}`:                              `0x40 1 1 0x238`,
			`holdfast_autorefresh_watch_down{client="prices"}`:                                             `0x40 1 1 0x238`,
			`holdfast_groupcache_etcd_up{client="pages"}`:                                                  `1x40 0 0 1x238`,
			`holdfast_groupcache_peer_missed_removes{client="pages",endpoint="http://b"}`:                  `0x40 5 5 0x238`,
			`holdfast_redis_sentinels_up{client="orders"}`:                                                 `3x40 0 3x239`,
		}},
		"a planned failover": {when: minutes(20, 21, 22, 23, 30, 45), series: map[string]string{
			`holdfast_redis_failovers_total{client="orders",endpoint="m",trigger="selected"}`: `0x40 1x240`,
			`holdfast_breaker_openings_total{kind="redis",client="orders",endpoint="m"}`:      `1x40 2x240`,
			`holdfast_breaker_state{kind="redis",client="orders",endpoint="m"}`:               `0x40 2 0x239`,
		}},
		"the primary dies, and a replica follows": {when: minutes(20, 21, 22, 23, 30, 45), series: map[string]string{
			`holdfast_redis_failovers_total{client="orders",endpoint="m",trigger="announced"}`: `0x40 1x240`,
			`holdfast_redis_primary_up{client="orders",endpoint="m"}`:                          `1x40 0 1x239`,
		}},
		// A read a minute says nothing of a ratio.
		"a cache that is hardly read has bad luck": {when: minutes(95, 110, 120), series: map[string]string{
			`holdfast_memcached_operations_total{client="users",op="get",result="hit"}`:  `0+0.5x160 80x120`,
			`holdfast_memcached_operations_total{client="users",op="get",result="miss"}`: `0x160 0+0.5x120`,
		}},
		"just as often as is allowed": {when: minutes(21, 22, 25, 30, 45, 80), series: map[string]string{
			`holdfast_redis_failovers_total{client="orders",endpoint="m",trigger="announced"}`:             `0x40 1x3 2x3 3x233`,
			`holdfast_redis_fences_wasted_total{client="orders",endpoint="m"}`:                             `0x40 2x240`,
			`holdfast_breaker_openings_total{kind="memcached",client="users",endpoint="a:1"}`:              `0x40 5x240`,
			`holdfast_breaker_openings_total{kind="user",client="billing",endpoint=""}`:                    `0x40 5x240`,
			`holdfast_memcached_endpoint_operations_total{client="users",endpoint="a:1",result="hit"}`:     `0+3x280`, // a call each 10 s
			`holdfast_memcached_endpoint_operations_total{client="users",endpoint="a:1",result="timeout"}`: `0x40 1x5 2x5 3x5 4x5 5x220`,
		}},
		"a server that is down is taken off the list": {when: minutes(40, 60), series: map[string]string{
			`holdfast_breaker_state{kind="memcached",client="users",endpoint="a:1"}`:                   `0x40 2x20 _x220`,
			`holdfast_breaker_state{kind="groupcache",client="pages",endpoint="http://b"}`:             `0x40 2x20 _x220`,
			`holdfast_breaker_openings_total{kind="memcached",client="users",endpoint="a:1"}`:          `0x40 9x20 _x220`,
			`holdfast_groupcache_peer_missed_removes{client="pages",endpoint="http://b"}`:              `0x40 9x20 _x220`,
			`holdfast_groupcache_peer_dropped_removes_total{client="pages",endpoint="http://b"}`:       `0x40 9x20 _x220`,
			`holdfast_memcached_endpoint_operations_total{client="users",endpoint="a:1",result="hit"}`: `0+3000x60 _x220`,
		}},
		// New ones come every 30 s, 20 of them in 10 minutes: at each moment one has just begun,
		// and knows nothing yet.
		"the processes are replaced one after the other": {when: minutes(2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12), series: beginning(), each: afterAnother},
		"the processes restart":                          {when: minutes(20, 21, 22, 23, 25, 30), series: restarted()},
		"the first scrape comes too early":               {when: minutes(0, 1, 2, 3, 5, 10), series: beginning()},
	}
}

// beginning is what a process shows that has just begun.
func beginning() map[string]string {
	return map[string]string{
		`holdfast_redis_primary_up{client="orders",endpoint="m"}`:         `0 1x279`,
		`holdfast_redis_sentinels_up{client="orders"}`:                    `0 3x279`,
		`holdfast_autorefresh_store_down{client="prices",endpoint="c:1"}`: `1 0x279`,
		`holdfast_autorefresh_watch_down{client="prices"}`:                `1 0x279`,
		`holdfast_groupcache_etcd_up{client="pages"}`:                     `0 1x279`,
		`holdfast_groupcache_etcd_registered{client="pages"}`:             `0 0 1x278`,
	}
}

// afterAnother lets process n begin n steps later.
func afterAnother(n int, values string) string {
	if n == 0 {
		return values
	}
	return fmt.Sprintf("_x%d %s", n-1, values)
}

// restarted processes are away for a minute, and then count from 0 again.
func restarted() map[string]string {
	series := make(map[string]string)
	for name, values := range well() {
		before := regexp.MustCompile(`x280$`).ReplaceAllString(values, "x40")
		after := regexp.MustCompile(`x280$`).ReplaceAllString(values, "x237")
		series[name] = before + " _ _ " + after
	}
	return series
}

// TestAlerts plays each story for one process and for twenty. The alert that belongs to it fires
// once, however many processes see it, and no other. Beside one process stands one of another job,
// whose clients have the same names, and which is well: its alerts would be another team's.
func TestAlerts(t *testing.T) {
	promtool := look(t, "promtool")
	rules, err := filepath.Abs(filepath.Join(folder, "alerts.yml"))
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(rules)
	if err != nil {
		t.Fatal(err)
	}
	told, all := make(map[string]bool), stories()
	for _, s := range all {
		told[s.alert] = true
	}
	names := regexp.MustCompile(`(?m)^ +- alert: (\w+)$`).FindAllSubmatch(text, -1)
	counted := counts(text)
	if len(names) < 20 || len(counted) < 12 {
		t.Fatalf("%d alerts, %d that count, found in %s", len(names), len(counted), rules)
	}
	for _, name := range names {
		if !told[string(name[1])] {
			t.Errorf("alert %s has no story", name[1])
		}
	}
	var file strings.Builder
	fmt.Fprintf(&file, "rule_files: [%q]\nevaluation_interval: 1m\ntests:\n", rules)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		for _, processes := range []int{1, 20} {
			all[name].write(&file, name, processes, counted)
		}
	}
	tests := filepath.Join(t.TempDir(), "alerts_test.yml")
	if err := os.WriteFile(tests, []byte(file.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), promtool, "check", "rules", rules).CombinedOutput(); err != nil {
		t.Errorf("check rules: %v\n%s", err, out)
	}
	play := exec.CommandContext(t.Context(), promtool, "test", "rules", tests)
	play.Env = append(os.Environ(), "GOGC=400") // a quarter of its time is its collector's
	if out, err := play.CombinedOutput(); err != nil {
		t.Errorf("test rules: %v\n%.8000s", err, out)
	}
}

// counts finds the expressions of the alerts that say how many processes see the same.
func counts(rules []byte) map[string]string {
	all := make(map[string]string)
	for _, found := range regexp.MustCompile(`- alert: (\w+)\n +expr: >\n((?: {10,}\S.*\n)+)`).FindAllSubmatch(rules, -1) {
		if text := strings.Join(strings.Fields(string(found[2])), " "); strings.HasPrefix(text, "count by") {
			all[string(found[1])] = text
		}
	}
	return all
}

// TestSeverities: somebody is woken where callers see errors, or values that they should not see.
// All else waits for the morning.
func TestSeverities(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(folder, "alerts.yml"))
	check(t, err)
	got := make(map[string][]string)
	for _, found := range regexp.MustCompile(`(?s)- alert: (\w+)\n.*?severity: (\w+)`).FindAllSubmatch(text, -1) {
		got[string(found[2])] = append(got[string(found[2])], string(found[1]))
	}
	slices.Sort(got["critical"])
	if want := []string{"AutorefreshStale", "GroupcacheRemovesDropped", "RedisNoPrimary"}; !slices.Equal(got["critical"], want) {
		t.Errorf("critical: %q, want %q", got["critical"], want)
	}
	if want := []string{"BreakerForcedOpen"}; !slices.Equal(got["info"], want) { // somebody did it on purpose
		t.Errorf("info: %q, want %q", got["info"], want)
	}
	if len(got) != 3 || len(got["warning"]) < 20 {
		t.Errorf("severities %v, want critical, warning and info", got)
	}
}

// write adds the story to a file for promtool. Of an alert that counts, counted has the expression:
// it is the number of processes, as all see the same.
func (s story) write(file *strings.Builder, name string, processes int, counted map[string]string) {
	fmt.Fprintf(file, "- interval: 30s\n  name: %q\n  input_series:\n", fmt.Sprintf("%s, %d processes", name, processes))
	series := well()
	if s.alert != "" && processes > 1 { // other alerts were looked at with one
		maps.DeleteFunc(series, func(name, _ string) bool { return !s.concerns(name) })
	}
	maps.Copy(series, s.series)
	for _, labels := range slices.Sorted(maps.Keys(series)) {
		for i := range processes {
			values := series[labels]
			if s.each != nil {
				values = s.each(i, values)
			}
			s.line(file, labels, "app", i, values)
		}
	}
	if processes == 1 {
		for labels, values := range well() {
			s.line(file, labels, "other", 0, values)
		}
	}
	file.WriteString("  promql_expr_test:\n")
	for _, when := range s.when {
		samples := "[]"
		if s.alert != "" {
			samples = fmt.Sprintf(`[{labels: '{alertname=%q,job="app"}', value: 1}]`, s.alert)
		}
		fmt.Fprintf(file, "  - {expr: 'count by (alertname, job) (ALERTS{alertstate=\"firing\"})', eval_time: %s, exp_samples: %s}\n", when, samples)
		if expr := counted[s.alert]; expr != "" {
			fmt.Fprintf(file, "  - {expr: 'sum(%s)', eval_time: %s, exp_samples: [{labels: '{}', value: %d}]}\n", expr, when, processes)
		}
	}
}

// line adds a series of a process.
func (story) line(file *strings.Builder, labels, job string, process int, values string) {
	full := strings.Replace(labels, "{", fmt.Sprintf(`{job=%q,instance="i%d",`, job, process), 1)
	fmt.Fprintf(file, "  - {series: %q, values: %q}\n", full, values)
}

// concerns reports whether a series belongs to a client that the story is about.
func (s story) concerns(series string) bool {
	for changed := range s.series {
		if client.FindString(changed) == client.FindString(series) {
			return true
		}
	}
	return false
}

var client = regexp.MustCompile(`client="[a-z]+"`)

// look finds a program of Prometheus. Where CI requires servers it must be there.
func look(t *testing.T, program string) string {
	t.Helper()
	path, err := exec.LookPath(program)
	if err == nil {
		return path
	}
	if os.Getenv("HOLDFAST_REQUIRE_SERVERS") == "1" {
		t.Fatalf("%s is missing, and HOLDFAST_REQUIRE_SERVERS=1: apt-get install prometheus", program)
	}
	testutil.Lack(t, "%s is missing: apt-get install prometheus", program)
	return ""
}
