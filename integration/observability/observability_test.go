// Package observability_test checks the alert rules and the dashboard against the metrics that the
// clients have.
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
	"github.com/holdfast-go/holdfast/internal/metrics"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache"
	"github.com/holdfast-go/holdfast/sentinel"
)

const folder = "../../docs/observability"

// described returns the names of all metrics that live clients describe.
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
		}
	}
	return found
}

// TestTablesAreWhatClientsDescribe: dashboards and docs are made from the tables; what a client
// sends must be in them, and what they have must be sent by some client.
func TestTablesAreWhatClientsDescribe(t *testing.T) {
	sent := described(t)
	for _, table := range metrics.All() {
		for _, row := range table.Rows() {
			if !sent[row.Name] {
				t.Errorf("%s is in the tables, but no client describes it", row.Name)
			}
			delete(sent, row.Name)
		}
	}
	for name := range sent {
		t.Errorf("%s is described by a client, but is in no table", name)
	}
}

// TestAlertsHaveARunbook: the link of an alert leads to a section that says what to do.
func TestAlertsHaveARunbook(t *testing.T) {
	rules, err := os.ReadFile(filepath.Join(folder, "alerts.yml"))
	if err != nil {
		t.Fatal(err)
	}
	runbook, err := os.ReadFile(filepath.Join(folder, "..", "runbook.md"))
	if err != nil {
		t.Fatal(err)
	}
	const link = "runbook_url: https://github.com/holdfast-go/holdfast/blob/main/docs/runbook.md#"
	for _, rule := range strings.Split(string(rules), "- alert: ")[1:] {
		name, rest, _ := strings.Cut(rule, "\n")
		if !strings.Contains(rest, link+strings.ToLower(name)+"\n") {
			t.Errorf("alert %s has no link to its section", name)
		}
		_, section, found := strings.Cut(string(runbook), "\n## "+name+"\n")
		section, _, _ = strings.Cut(section, "\n## ")
		for _, part := range []string{"**What the application feels.**", "**Look at**", "**Do**", "**Do not**"} {
			if !found || !strings.Contains(section, part) {
				t.Errorf("the section of alert %s in the runbook lacks %s", name, part)
			}
		}
	}
	if n := strings.Count(string(rules), "- alert: "); n < 20 || n != strings.Count(string(runbook), "\n## ") {
		t.Errorf("%d alerts, and as many sections as %d", n, strings.Count(string(runbook), "\n## "))
	}
}

// TestMetricsAreDocumented: each metric has a line in the table.
func TestMetricsAreDocumented(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(folder, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	for name := range described(t) {
		if !strings.Contains(string(text), "| `"+name+"` |") {
			t.Errorf("README.md does not have %s", name)
		}
	}
}
