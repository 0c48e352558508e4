// Package observability_test checks the alert rules and the dashboard against the metrics that the clients have.
package observability_test

import (
	"context"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/holdfast-go/holdfast/autorefresh"
	"github.com/holdfast-go/holdfast/breaker"
	"github.com/holdfast-go/holdfast/groupcache"
	"github.com/holdfast-go/holdfast/groupcache/dnspeers"
	"github.com/holdfast-go/holdfast/groupcache/etcdpeers"
	"github.com/holdfast-go/holdfast/groupcache/grpcpeer"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache"
	"github.com/holdfast-go/holdfast/sentinel"
)

const folder = "../../docs/observability"

// described returns the names of all metrics, with the suffixes that histograms add.
func described(t *testing.T) map[string]bool {
	t.Helper()
	b, err := breaker.New("test", breaker.Options{Durations: true})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = b.Close() }()
	client := memcache.New("127.0.0.1:1")
	defer func() { _ = client.Close() }()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	follower, err := sentinel.New(ctx, []string{"127.0.0.1:1"}, sentinel.Options{Names: []string{"a"}, StartDown: true})
	if err != nil {
		t.Fatal(err)
	}
	defer follower.Close()
	name := regexp.MustCompile(`fqName: "([a-z_]+)"`)
	found := make(map[string]bool)
	fresh, err := autorefresh.New(func(context.Context, string, int) (int, error) { return 0, nil }, autorefresh.Options[string, int]{Period: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = fresh.Close() }()
	instance, err := groupcache.New(groupcache.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = instance.Close() }()
	names, err := dnspeers.Watch(ctx, instance, "localhost", dnspeers.Options{Port: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = names.Close() }()
	listed, err := etcdpeers.Watch(ctx, instance, "groupcache", etcdpeers.Options{Endpoints: []string{"127.0.0.1:1"}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listed.Close() }()
	network, err := grpcpeer.New(grpcpeer.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = network.Close() }()
	for _, c := range []prometheus.Collector{b, client, follower, fresh, instance, names, listed, network} {
		ch := make(chan *prometheus.Desc, 100)
		c.Describe(ch)
		close(ch)
		for d := range ch {
			n := name.FindStringSubmatch(d.String())[1]
			found[n] = true
			if strings.HasSuffix(n, "_seconds") {
				found[n+"_bucket"], found[n+"_sum"], found[n+"_count"] = true, true, true
			}
		}
	}
	return found
}

var metric = regexp.MustCompile(`\b(?:breaker|memcached_client|redis_sentinel|autorefresh|groupcache)_[a-z_]+`)

// TestMetricsExist: an alert on a metric that was renamed never fires, and nobody notices.
func TestMetricsExist(t *testing.T) {
	names := described(t)
	for _, file := range []string{"alerts.yml", "memcached.json", "redis.json", "README.md"} {
		text, err := os.ReadFile(filepath.Join(folder, file))
		if err != nil {
			t.Fatal(err)
		}
		used := metric.FindAllString(string(text), -1)
		if len(used) < 5 {
			t.Errorf("%s: only %d metrics found: the check does not see them", file, len(used))
		}
		for _, m := range used {
			if !names[m] {
				t.Errorf("%s: there is no metric %s", file, m)
			}
		}
	}
}

// TestMetricsAreDocumented: each metric has a line in the table.
func TestMetricsAreDocumented(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(folder, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	for name := range described(t) {
		plain := regexp.MustCompile(`_(bucket|sum|count)$`).ReplaceAllString(name, "")
		if !strings.Contains(string(text), "`"+plain+"`") {
			t.Errorf("README.md does not have %s", plain)
		}
	}
}
