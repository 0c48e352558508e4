package groupcache_test

import (
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/groupcache"
)

// URLs that no request could be made of, or that asked another path than that of the peers, were
// taken without a word: each process was alone then.
func TestURLsThatCannotWorkAreRefused(t *testing.T) {
	for bad, advice := range map[string]string{
		"http://h:99999":           "port from 1 to 65535",
		"http://h:0":               "port from 1 to 65535",
		"http://h:8080?x=1":        "leave out",
		"http://h:8080?":           "leave out",
		"http://h:8080/#f":         "leave out",
		"http://h:8080/#":          "leave out",
		"http://:8080":             "write it like",
		"http://::1:8080":          "",
		"http://h:80 80":           "",
		"h:8080":                   "write it like",
		"http://h/a/../b":          "//, . and ..",
		"http://h//a":              "//, . and ..",
		"http://u:secret@h:99999":  "port from 1",
		"http://u:sec#ret@h:8080":  "",
		"http://u:sec%zzret@h:80":  "",
		"ftp://u:secret@h":         "write it like",
		"u:secret@h:80":            "",
		"http://u:secret@h:80?a=b": "leave out",
	} {
		_, err := groupcache.New(groupcache.Options{Self: bad})
		if err == nil || !strings.Contains(err.Error(), advice) || strings.Contains(err.Error(), "sec") {
			t.Errorf("New with %q: %v", bad, err)
		}
		i, err := groupcache.New(groupcache.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if err := i.SetPeers(bad); err == nil || !strings.Contains(err.Error(), advice) || strings.Contains(err.Error(), "sec") {
			t.Errorf("SetPeers(%q): %v", bad, err)
		}
		_ = i.Close()
	}
}

// Where Self or the list had a slash at the end, requests went to //_groupcache/, and every process
// loaded all keys for itself.
func TestASlashAtTheEndOfAURLMakesNoOtherPeer(t *testing.T) {
	for _, ends := range [][2]string{{"", "/"}, {"/", ""}, {"/", "/"}, {"//", "/"}} {
		c := &cluster{source: newSource()}
		var urls []string
		for range 3 {
			n := startNode(t, c.source, func(o *groupcache.Options) {
				patient(o)
				o.Self += ends[0]
			})
			c.nodes = append(c.nodes, n)
			urls = append(urls, n.url+ends[1], n.url) // each twice
		}
		for _, n := range c.nodes {
			if err := n.instance.SetPeers(urls...); err != nil {
				t.Fatal(err)
			}
			if all := n.instance.PeerPicker().GetAll(); len(all) != 3 {
				t.Errorf("%q: %d peers", ends, len(all))
			}
		}
		for _, n := range c.nodes {
			eventually(t, "the peers know each other", n.instance.Acquainted)
		}
		for _, key := range strings.Fields("a b c d e f g h i j k l") {
			for _, n := range c.nodes {
				if _, err := get(t.Context(), n.group, key); err != nil {
					t.Errorf("%q: %v", ends, err)
				}
			}
		}
		if twice := c.source.twice(); len(twice) > 0 {
			t.Errorf("%q: loaded twice: %q", ends, twice)
		}
	}
}

// A password in a peer's URL was not sent, and stood in errors.
func TestAPasswordIsSentAndNotShown(t *testing.T) {
	var log sharedText
	c := &cluster{source: newSource()}
	owner := startNode(t, c.source, overHTTP)
	asker := startNode(t, c.source, func(o *groupcache.Options) {
		patient(o)
		o.Self = "http://me:secret@" + strings.TrimPrefix(o.Self, "http://")
		o.Logger = slog.New(slog.NewTextHandler(&log, nil))
	})
	owner.behind(func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if user, password, ok := r.BasicAuth(); !ok || user != "u" || password != "secret" {
				w.WriteHeader(http.StatusUnauthorized)
				return
			}
			h.ServeHTTP(w, r)
		})
	})
	withPassword := "http://u:secret@" + strings.TrimPrefix(owner.url, "http://")
	if err := asker.instance.SetPeers(withPassword); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the peer is known", asker.instance.Acquainted)
	if _, err := get(t.Context(), asker.group, "key"); err != nil || owner.group.Stats.ServerRequests.Get() != 1 {
		t.Errorf("%v, %d requests arrived", err, owner.group.Stats.ServerRequests.Get())
	}
	owner.server.Close()
	err := asker.group.Remove(t.Context(), "key")
	if err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("Remove: %v", err)
	}
	d := asker.instance.Debug()
	if strings.Contains(d.Self+log.String(), "secret") || slices.ContainsFunc(d.Peers, func(p groupcache.DebugPeer) bool { return strings.Contains(p.URL, "secret") }) {
		t.Errorf("shown: %+v, log %s", d, &log)
	}
}

// That a process was not in the list as it knew itself was said by nothing.
func TestSelfThatIsNotInTheListIsSaidOnce(t *testing.T) {
	for _, c := range []struct{ self, peer, said string }{
		{"http://h:8080", "http://h:8080", ""},
		{"http://h:8080/", "http://h:8080", ""},
		{"", "http://h:8080", ""},
		{"http://h:8080", "http://g:8080", "not among its peers"},
		{"http://h:8080", "http://H:8080", "another spelling"},
		{"http://h:80", "HTTP://h", "another spelling"},
		{"https://h", "https://h.:443", "another spelling"},
		{"http://localhost:8080", "http://127.0.0.1:8080", "another spelling"},
		{"http://[::1]:8080", "http://[0:0::1]:8080", "another spelling"},
		{"http://u:secret@h:8080", "http://h:8080", "another spelling"},
	} {
		var log sharedText
		i, err := groupcache.New(groupcache.Options{Self: c.self, Logger: slog.New(slog.NewTextHandler(&log, nil)), Transport: nowhere})
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if err := i.SetPeers(c.peer, "http://other:1"); err != nil {
				t.Error(err)
			}
		}
		_ = i.Close()
		text := log.String()
		if n := strings.Count(text, "this process is"); c.said == "" && n != 0 || c.said != "" && (n != 1 || !strings.Contains(text, c.said)) || strings.Contains(text, "secret") {
			t.Errorf("Self %q, list %q: %d times, want %q in %s", c.self, c.peer, n, c.said, text)
		}
	}
}

// A peer that refused all requests, for a prefix that an ingress strips from the signed path, a
// clock or a secret, was said by nothing at the caller.
func TestARefusalIsSaidInTheCallersLogOnce(t *testing.T) {
	var log sharedText
	secret := []byte("0123456789abcdef")
	server := startNode(t, newSource(), func(o *groupcache.Options) { o.Auth, o.Secret = groupcache.AuthRequire, secret })
	client := startNode(t, newSource(), func(o *groupcache.Options) {
		o.Auth, o.Secret, o.Logger = groupcache.AuthRequire, []byte("fedcba9876543210"), slog.New(slog.NewTextHandler(&log, nil))
	})
	if err := client.instance.SetPeers(server.url); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the log says it", func() bool {
		if _, err := get(t.Context(), client.group, time.Now().String()); err != nil { // another key each time
			t.Error(err)
		}
		return strings.Contains(log.String(), "refuses")
	})
	for _, key := range []string{"a", "b", "c"} {
		if _, err := get(t.Context(), client.group, key); err != nil {
			t.Error(err)
		}
	}
	if text := log.String(); strings.Count(text, "refuses") != 1 || !strings.Contains(text, "secrets differ") {
		t.Errorf("the log has %s", text)
	}
}

// That anybody may ask, set and remove was said by nothing.
func TestThatAnybodyIsAnsweredIsSaidOnce(t *testing.T) {
	secret := []byte("0123456789abcdef")
	for what, c := range map[string]struct {
		o     groupcache.Options
		peers []string
		said  int
	}{
		"open":         {groupcache.Options{}, []string{"http://h"}, 1},
		"alone":        {groupcache.Options{Self: "http://h"}, []string{"http://h"}, 0},
		"signed":       {groupcache.Options{Auth: groupcache.AuthAccept, Secret: secret}, []string{"http://h"}, 0},
		"certificates": {groupcache.Options{RequireClientCert: true}, []string{"https://h"}, 0},
	} {
		var log sharedText
		c.o.Logger, c.o.Transport = slog.New(slog.NewTextHandler(&log, nil)), nowhere
		i, err := groupcache.New(c.o)
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if err := i.SetPeers(c.peers...); err != nil {
				t.Error(err)
			}
		}
		_ = i.Close()
		if n := strings.Count(log.String(), "whoever reaches"); n != c.said {
			t.Errorf("%s: said %d times, want %d", what, n, c.said)
		}
	}
}
