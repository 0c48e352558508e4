package observability_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/internal/testutil"
)

// TestEndToEnd runs a client of each kind on real servers, lets Prometheus scrape them, takes the
// servers away and brings them back. Each alert that belongs to it fires and resolves, each
// expression of each dashboard has shown something, and the log says the outage in a few lines.
//
// The rules are those of docs, sixty times as fast: what stands there in minutes is in seconds
// here.
func TestEndToEnd(t *testing.T) {
	program := look(t, "prometheus")
	l := startLab(t)
	p := startPrometheus(t, program, l.url)
	begin := time.Now()
	time.Sleep(8 * time.Second) // rates look back so long
	wrong := l.warnings(t)
	for i := 0; len(wrong) > 0; i++ { // a busy machine may let a server stand still just then
		if i == 2 {
			t.Fatalf("at each of three healthy starts somebody is warned: %v", wrong)
		}
		t.Logf("at a healthy start: %v", wrong)
		t.Run("another start", func(t *testing.T) {
			l := startLab(t)
			time.Sleep(3 * time.Second)
			wrong = l.warnings(t)
		})
	}
	await(t, "no alert while all is well", func() string { return strings.Join(p.firing(t), ", ") })
	_ = l.log.take(t)
	l.breakAll(t)
	broken := time.Now()
	want := []string{
		"AutorefreshSourceDown", "AutorefreshStoreDown", "DependencyDown", "GroupcacheDNSFails", "GroupcacheEtcdAway", "GroupcachePeerDown",
		"MemcachedServerDown", "RedisNoPrimary", "RedisSentinelsUnheard",
	}
	fired := make(map[string]bool)
	await(t, "the alerts fire", func() string {
		for _, alert := range p.firing(t) {
			fired[alert] = true
		}
		missing := slices.DeleteFunc(slices.Clone(want), func(alert string) bool { return fired[alert] })
		return strings.Join(missing, ", ")
	})
	t.Logf("all fired %v after the outage began", time.Since(broken).Round(100*time.Millisecond))
	l.healAll(t)
	await(t, "the alerts resolve", func() string {
		left := slices.DeleteFunc(p.firing(t), func(alert string) bool { return !slices.Contains(want, alert) })
		return strings.Join(left, ", ")
	})
	l.outageLog(t)
	p.dashboards(t, begin)
}

// warnings are the lines of the log that nobody must see at a start at which nothing is wrong.
func (l *lab) warnings(t *testing.T) []map[string]any {
	t.Helper()
	return slices.DeleteFunc(l.log.take(t), func(line map[string]any) bool { return line["level"] == "INFO" })
}

// outageLog checks what an outage of everything has put into the log: a handful of lines a client,
// each with its client, a warning with its cause, an end with its length.
func (l *lab) outageLog(t *testing.T) {
	t.Helper()
	count := make(map[string]int)
	for _, line := range l.log.take(t) {
		client, named := line["client"].(string)
		if !named {
			t.Errorf("a line without its client: %v", line)
		}
		count[client]++
		text := line["msg"].(string)
		if line["level"] == "WARN" && line["cause"] == nil {
			t.Errorf("a warning without its cause: %v", line)
		}
		if strings.Contains(text, "memcached server") || strings.Contains(text, "breaker changed state") || strings.Contains(text, "primary") {
			if line["endpoint"] == nil {
				t.Errorf("a line without its endpoint: %v", line)
			}
		}
		if after, ok := line["after"]; ok {
			if _, err := time.ParseDuration(fmt.Sprint(after)); err != nil {
				t.Errorf("a duration that is no text: %v", line)
			}
		}
	}
	for client, lines := range count {
		t.Logf("%s: %d lines", client, lines)
		if lines > 12 {
			t.Errorf("client %s has %d lines about one outage", client, lines)
		}
	}
	for _, client := range []string{"users", "orders", "prices", "pages", "posts 0", "billing", "comments"} {
		if count[client] == 0 {
			t.Errorf("client %s has not a line about the outage", client)
		}
	}
}

// prometheusServer is a Prometheus that scrapes the lab.
type prometheusServer struct{ url string }

// startPrometheus runs one with the rules of docs, sixty times as fast.
func startPrometheus(t *testing.T, program, target string) *prometheusServer {
	t.Helper()
	dir := t.TempDir()
	rules, err := os.ReadFile(filepath.Join(folder, "alerts.yml"))
	check(t, err)
	scraped, err := url.Parse(target)
	check(t, err)
	check(t, os.WriteFile(filepath.Join(dir, "rules.yml"), hasten(rules), 0o600))
	check(t, os.WriteFile(filepath.Join(dir, "prometheus.yml"), fmt.Appendf(nil, `
global: {scrape_interval: 500ms, scrape_timeout: 500ms, evaluation_interval: 500ms}
rule_files: [rules.yml]
scrape_configs:
- job_name: lab
  metrics_path: /
  static_configs: [{targets: [%q]}]
`, scraped.Host), 0o600))
	port, err := testutil.FreePort()
	check(t, err)
	address := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	var output bytes.Buffer
	cmd := exec.Command(program, "--config.file="+filepath.Join(dir, "prometheus.yml"), "--storage.tsdb.path="+filepath.Join(dir, "data"),
		"--web.listen-address="+address, "--log.level=warn")
	cmd.Stdout, cmd.Stderr = &output, &output
	check(t, cmd.Start())
	t.Cleanup(func() {
		_, _ = cmd.Process.Kill(), cmd.Wait()
		if t.Failed() {
			t.Logf("prometheus: %s", output.String())
		}
	})
	p := &prometheusServer{"http://" + address}
	await(t, "prometheus is ready", func() string {
		if _, err := p.get(t.Context(), "/-/ready", nil); err != nil {
			return err.Error()
		}
		return ""
	})
	return p
}

// hasten makes seconds of the minutes in rules, and minutes of the hours.
func hasten(rules []byte) []byte {
	rules = regexp.MustCompile(`\b(\d+)m\b`).ReplaceAll(rules, []byte("${1}s"))
	rules = regexp.MustCompile(`\b(\d+)h\b`).ReplaceAll(rules, []byte("${1}m"))
	return rules
}

// dashboards evaluates every expression over the time since begin.
func (p *prometheusServer) dashboards(t *testing.T, begin time.Time) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(folder, "*.json"))
	check(t, err)
	if len(files) < 6 {
		t.Errorf("%d dashboards, want one a package and the overview", len(files))
	}
	for _, file := range files {
		var board struct {
			Panels []struct {
				Title   string
				Targets []struct{ Expr string }
			}
		}
		text, err := os.ReadFile(file)
		check(t, err)
		check(t, json.Unmarshal(text, &board))
		evaluated := 0
		for _, panel := range board.Panels {
			for _, target := range panel.Targets {
				evaluated++
				expr := strings.NewReplacer("$job", ".*", "$instance", ".*", "$client", ".*", "$__rate_interval", "5s").Replace(target.Expr)
				series := p.query(t, expr, begin)
				if series == 0 {
					t.Errorf("%s, panel %q shows nothing: %s", filepath.Base(file), panel.Title, expr)
				}
			}
		}
		if evaluated == 0 {
			t.Errorf("%s has no expression", file)
		}
	}
}

// query returns how many series an expression has had.
func (p *prometheusServer) query(t *testing.T, expr string, begin time.Time) int {
	t.Helper()
	body, err := p.get(t.Context(), "/api/v1/query_range", url.Values{
		"query": {expr}, "step": {"1"}, "start": {strconv.FormatInt(begin.Unix(), 10)}, "end": {strconv.FormatInt(time.Now().Unix(), 10)},
	})
	if err != nil {
		t.Errorf("%s: %v", expr, err)
		return -1
	}
	var answer struct{ Data struct{ Result []any } }
	check(t, json.Unmarshal(body, &answer))
	return len(answer.Data.Result)
}

// firing returns the alerts that fire now.
func (p *prometheusServer) firing(t *testing.T) (names []string) {
	t.Helper()
	body, err := p.get(t.Context(), "/api/v1/alerts", nil)
	check(t, err)
	var answer struct {
		Data struct {
			Alerts []struct {
				State  string
				Labels map[string]string
			}
		}
	}
	check(t, json.Unmarshal(body, &answer))
	for _, a := range answer.Data.Alerts {
		if a.State == "firing" {
			names = append(names, a.Labels["alertname"])
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

func (p *prometheusServer) get(ctx context.Context, path string, query url.Values) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, p.url+path+"?"+query.Encode(), nil)
	if err != nil {
		return nil, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", response.Status, body)
	}
	return body, err
}

// longest is how long a test waits for what has to come. On a busy machine a scrape of a hastened
// Prometheus is late, and what it waits for begins anew.
const longest = 3 * time.Minute

// await waits until nothing is missing.
func await(t *testing.T, what string, missing func() string) {
	t.Helper()
	var left string
	for deadline := time.Now().Add(longest); time.Now().Before(deadline); time.Sleep(200 * time.Millisecond) {
		if left = missing(); left == "" {
			return
		}
	}
	t.Fatalf("%s: after %v there is still: %s", what, longest, left)
}
