package groupcache_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/groupcache"
)

// onlyOK is a writer that knows no status but 200, as recorders of the status that take the first
// one, such as 102, in effect do.
type onlyOK struct{ http.ResponseWriter }

func (onlyOK) WriteHeader(int) {}

func (o onlyOK) Unwrap() http.ResponseWriter { return o.ResponseWriter }

func withoutStatus(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { h.ServeHTTP(onlyOK{w}, r) })
}

// Where a middleware made 200 of all answers, the text of a Getter's error that happened to parse
// as a message was an empty value, and no error.
func TestAnErrorIsNoValueWhateverBecomesOfItsStatus(t *testing.T) {
	c := startCluster(t, 2, overHTTP)
	owner, asker := c.nodes[0], c.nodes[1]
	owner.behind(withoutStatus)
	key := c.ownedBy(t, owner)
	for _, text := range []string{
		"2 " + strings.Repeat("x", 31), // field 6 of 32 bytes
		"", "\x0a\x01v", "\x12\x00",
	} {
		for _, cause := range []error{errors.New(text), &groupcache.ErrNotFound{Msg: text}} {
			c.source.answer = func(context.Context, string) (string, error) { return "", cause }
			for range 3 {
				if v, err := asker.group.View(t.Context(), key); err == nil {
					t.Errorf("%T %q: View returns %q and no error", cause, text, v)
				}
			}
			if got, err := asker.group.GetMulti(t.Context(), []string{key}); len(got) > 0 {
				t.Errorf("%T %q: GetMulti returns %v, %v", cause, text, got, err)
			}
		}
	}
}

// A refused Set whose status was lost was reported as done, and so was one that a page asking for a
// password answered.
func TestARefusalIsNoSuccessWhateverBecomesOfItsStatus(t *testing.T) {
	page := func(http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>Who are you?")) })
	}
	for what, around := range map[string]func(http.Handler) http.Handler{"the status is lost": withoutStatus, "a page": page} {
		c := startCluster(t, 2, overHTTP)
		owner, asker := c.nodes[0], c.nodes[1]
		owner.behind(func(h http.Handler) http.Handler {
			h = around(h)
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				r.URL.Path = strings.Replace(r.URL.Path, "/g/", "/gone/", 1) // no such group
				r.URL.RawPath = ""
				h.ServeHTTP(w, r)
			})
		})
		key := c.ownedBy(t, owner)
		if err := asker.group.Set(t.Context(), key, []byte("new"), time.Time{}, false); err == nil {
			t.Errorf("%s: Set reports success", what)
		}
		if what == "a page" {
			if err := asker.group.Remove(t.Context(), key); err == nil {
				t.Errorf("%s: Remove reports success", what)
			}
		}
	}
}

// The text of a Getter's error was taken for the words of a peer without the group, and the key
// loaded elsewhere.
func TestAGetterMaySayAnything(t *testing.T) {
	c := startCluster(t, 2, patient)
	key := c.ownedBy(t, c.nodes[0])
	c.source.answer = func(context.Context, string) (string, error) { return "", errors.New("no such group: admins") }
	_, err := get(t.Context(), c.nodes[1].group, key)
	if !errors.Is(err, &groupcache.ErrRemoteCall{}) || c.source.loads.Load() != 1 {
		t.Errorf("%v, after %d loads", err, c.source.loads.Load())
	}
}

// refuses lets no request through that is chosen.
func refuses(status int, chosen func(*http.Request) bool) func(http.Handler) http.Handler {
	return func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if !chosen(r) {
				h.ServeHTTP(w, r)
				return
			}
			if status >= 300 && status < 400 {
				w.Header().Set("Location", "/elsewhere")
			}
			w.WriteHeader(status)
		})
	}
}

func method(names ...string) func(*http.Request) bool {
	return func(r *http.Request) bool { return slices.Contains(names, r.Method) }
}

func longURI(r *http.Request) bool { return len(r.RequestURI) > 8000 }

// One removal that something on the way answered itself was kept for the peer, had to be delivered
// before the peer was used, and never could be: all peers were away for ever.
func TestARemovalThatIsNotLetThroughTakesNoPeerAway(t *testing.T) {
	long := strings.Repeat("k", 9000)
	for _, c := range []struct {
		what   string
		around func(http.Handler) http.Handler
		key    string // empty: one of the owner's
		told   bool   // in another way
	}{
		{"an address that is too long for a proxy", refuses(http.StatusRequestURITooLong, longURI), long, true},
		{"a key that is too long for net/http", refuses(0, method()), strings.Repeat("k", 1200<<10), true},
		{"a key of three bytes in the address for each of its own", refuses(0, method()), strings.Repeat("ü", 200<<10), true},
		{"a router that redirects keys with slashes", refuses(http.StatusMovedPermanently, func(r *http.Request) bool {
			return strings.Contains(r.URL.Path, "://")
		}), "https://example.net/a?b", true},
		{"no DELETE", refuses(http.StatusMethodNotAllowed, method("DELETE")), "", true},
		{"no DELETE, by a gateway", refuses(http.StatusForbidden, method("DELETE")), "", true},
		{"no such route", refuses(http.StatusNotFound, method("DELETE")), "", true},
		{"GET and OPTIONS alone", refuses(http.StatusMethodNotAllowed, method("DELETE", "PUT", "POST")), "", false},
		{"not implemented", refuses(http.StatusNotImplemented, method("DELETE", "PUT", "POST")), "", false},
		{"the methods of the original, and a long key", func(h http.Handler) http.Handler {
			return refuses(http.StatusRequestURITooLong, longURI)(refuses(http.StatusMethodNotAllowed, method("POST"))(h))
		}, long, true},
	} {
		t.Run(c.what, func(t *testing.T) { checkRemovalThatIsNotLetThrough(t, c.around, c.key, c.told) })
	}
}

//nolint:revive // told is an expectation, no control flag
func checkRemovalThatIsNotLetThrough(t *testing.T, around func(http.Handler) http.Handler, key string, told bool) {
	t.Helper()
	c := startCluster(t, 2, overHTTP) // and patient: long keys take long on a busy machine
	owner, writer := c.nodes[0], c.nodes[1]
	for _, n := range c.nodes { // with room for long keys
		g, err := n.instance.NewGroup("large", 64<<20, c.source)
		if err != nil {
			t.Fatal(err)
		}
		n.group = g
	}
	owner.behind(around)
	key = c.ownedBy(t, owner, key)
	kept := func() int64 {
		return owner.group.CacheStats(groupcache.MainCache).Items + owner.group.CacheStats(groupcache.HotCache).Items
	}
	if _, err := get(t.Context(), owner.group, key); err != nil || kept() == 0 {
		t.Fatalf("%v: the owner has nothing to lose", err)
	}
	if err := writer.group.Remove(t.Context(), key); (err == nil) != told {
		t.Errorf("Remove: %v", err)
	}
	if told && kept() > 0 {
		t.Error("the peer has the old value")
	}
	if err := writer.group.Set(t.Context(), key, []byte("v"), time.Time{}, false); err == nil && !told {
		t.Error("Set: no error")
	}
	const asked = 20
	for i := range asked {
		if _, err := get(t.Context(), writer.group, c.ownedBy(t, owner, "after", fmt.Sprint(i))); err != nil {
			t.Error(err)
		}
	}
	if up, n := writer.instance.PeersUp(), owner.group.Stats.ServerRequests.Get(); up != 1 || n < asked {
		t.Errorf("%d peers are up, and the owner was asked %d times", up, n)
	}
	for _, p := range writer.instance.Debug().Peers {
		if !p.Self && (p.DroppedRemoves > 0) == told {
			t.Errorf("%d removals are counted as given up", p.DroppedRemoves)
		}
	}
}

// Where only the originals' methods were let through, the first request that many callers shared
// took the peer down, again and again.
func TestPeersThatTakeNoBatchesAreAskedKeyByKey(t *testing.T) {
	for what, refused := range map[string][]string{"as mailgun's users mount it": {"POST"}, "as golang's users do": {"POST", "PUT", "DELETE"}} {
		t.Run(what, func(t *testing.T) {
			c := startCluster(t, 2, byHTTP(func(o *groupcache.Options) { o.Silence = longest })) // a busy machine is no silent peer
			owner, asker := c.nodes[0], c.nodes[1]
			owner.behind(refuses(http.StatusMethodNotAllowed, method(refused...)))
			c.source.answer = func(_ context.Context, key string) (string, error) {
				time.Sleep(time.Millisecond) // so that callers meet
				return "value of " + key, nil
			}
			const callers, each = 64, 5
			var all sync.WaitGroup
			for i := range callers {
				var keys []string
				for k := range each {
					keys = append(keys, c.ownedBy(t, owner, fmt.Sprint(i), fmt.Sprint(k)))
				}
				all.Go(func() {
					for _, key := range keys {
						if v, err := get(t.Context(), asker.group, key); v != "value of "+key || err != nil {
							t.Errorf("%q, %v", v, err)
						}
					}
					if got, err := asker.group.GetMulti(t.Context(), append(keys, keys[0]+" and more")); len(got) != each+1 || err != nil {
						t.Errorf("GetMulti: %d values, %v", len(got), err)
					}
				})
			}
			all.Wait()
			if up := asker.instance.PeersUp(); up != 1 {
				t.Error("the peer is down")
			}
			if posts := owner.posts.Load(); posts > callers {
				t.Errorf("%d requests for several keys were tried", posts)
			}
			if here := c.source.loads.Load() - owner.group.Stats.LocalLoads.Get(); here > callers {
				t.Errorf("%d of %d keys were not loaded by their owner", here, callers*each)
			}
		})
	}
}

// agree reports whether each of n keys has one owner.
func (c *cluster) agree(n int) bool {
	for i := range n {
		owners := 0
		for _, node := range c.nodes {
			if node.instance.Owns(fmt.Sprint("agreed ", i)) {
				owners++
			}
		}
		if owners != 1 {
			return false
		}
	}
	return true
}

// A peer that joins later, and is mounted for the originals' methods as the others are, owns its
// share, and is asked for it. What it cannot be told to forget is said.
func TestAPeerThatJoinsLaterBehindGETAlone(t *testing.T) {
	for what, refused := range map[string][]string{
		"GET alone": {"POST", "PUT", "DELETE", "OPTIONS"}, "GET and OPTIONS": {"POST", "PUT", "DELETE"}, "the original's methods": {"POST", "OPTIONS"},
	} {
		t.Run(what, func(t *testing.T) {
			c := startCluster(t, 2, overHTTP)
			c.nodes = append(c.nodes, startNode(t, c.source, overHTTP))
			late := c.nodes[2]
			for _, n := range c.nodes {
				n.behind(refuses(http.StatusMethodNotAllowed, method(refused...)))
			}
			for _, n := range c.nodes {
				if err := n.instance.SetPeers(c.nodes[0].url, c.nodes[1].url, late.url); err != nil {
					t.Fatal(err)
				}
			}
			eventually(t, "all agree who owns what", func() bool { return c.agree(100) })
			const n = 20
			for i := range n {
				key := c.ownedBy(t, late, "late", fmt.Sprint(i))
				if v, err := get(t.Context(), c.nodes[i%2].group, key); v != "value of "+key || err != nil {
					t.Errorf("%q, %v", v, err)
				}
			}
			if loads := late.group.Stats.LocalLoads.Get(); loads != n {
				t.Errorf("it has loaded %d of its %d keys", loads, n)
			}
			key := c.ownedBy(t, late, "late", "0")
			err := c.nodes[0].group.Remove(t.Context(), key)
			if told := !slices.Contains(refused, "DELETE"); (err == nil) != told {
				t.Errorf("Remove: %v", err)
			}
			if err == nil {
				return
			}
			if !strings.Contains(err.Error(), late.url) {
				t.Errorf("the error does not name it: %v", err)
			}
			for _, n := range c.nodes[:2] {
				if up := n.instance.PeersUp(); up != 2 {
					t.Errorf("%d peers are up", up)
				}
			}
		})
	}
}

// What answers all that is not routed has no body either: a removal that it took was reported as
// done.
func TestAnEmptyAnswerOfSomethingElseIsNoSuccess(t *testing.T) {
	for _, status := range []int{http.StatusOK, http.StatusAccepted, http.StatusNoContent} {
		c := startCluster(t, 2, overHTTP)
		owner, writer := c.nodes[0], c.nodes[1]
		owner.behind(refuses(status, method("DELETE", "PUT", "POST")))
		key := c.ownedBy(t, owner)
		if _, err := get(t.Context(), owner.group, key); err != nil {
			t.Fatal(err)
		}
		if err := writer.group.Remove(t.Context(), key); err == nil {
			t.Errorf("%d: Remove reports success", status)
		}
		if err := writer.group.Set(t.Context(), key, []byte("new"), time.Time{}, false); err == nil {
			t.Errorf("%d: Set reports success", status)
		}
		if up := writer.instance.PeersUp(); up != 1 {
			t.Errorf("%d: the peer is away", status)
		}
	}
}

// A middleware that reads the body, or loses that of the answer, made empty values of it, and
// removals of nothing.
func TestABodyThatIsLostIsNoEmptyValue(t *testing.T) {
	c := startCluster(t, 2, overHTTP)
	owner, asker := c.nodes[0], c.nodes[1]
	owner.behind(func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			h.ServeHTTP(w, r)
		})
	})
	if err := asker.group.Set(t.Context(), c.ownedBy(t, owner), []byte("v"), time.Time{}, false); err == nil {
		t.Error("Set of a body that was read before reports success")
	}
	if v, err := get(t.Context(), owner.group, c.ownedBy(t, owner)); v == "" || err != nil {
		t.Errorf("%q, %v", v, err)
	}
	owner.behind(func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			answer := httptest.NewRecorder()
			h.ServeHTTP(answer, r)
			maps.Copy(w.Header(), answer.Header())
			w.Header().Del("Content-Length")
			w.WriteHeader(answer.Code)
		})
	})
	if v, err := get(t.Context(), asker.group, c.ownedBy(t, owner, "another")); v == "" && err == nil {
		t.Error("an empty value and no error")
	}
}

// A peer that comes back after its removals were not noted any more was asked before it was told to
// drop what it has.
func TestAPeerThatComesBackIsToldBeforeItIsAsked(t *testing.T) {
	slowly := func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodOptions {
				time.Sleep(100 * time.Millisecond)
			}
			h.ServeHTTP(w, r)
		})
	}
	for what, around := range map[string]func(http.Handler) http.Handler{
		"it is greeted slowly":                slowly,
		"something else answers the greeting": refuses(http.StatusOK, method("OPTIONS")),
	} {
		t.Run(what, func(t *testing.T) {
			c := startCluster(t, 2, byHTTP(func(o *groupcache.Options) { o.Handover = 20 * time.Millisecond }))
			owner, writer := c.nodes[0], c.nodes[1]
			var keys []string
			for i := range 100 {
				keys = append(keys, c.ownedBy(t, owner, fmt.Sprint(i)))
				if _, err := get(t.Context(), owner.group, keys[i]); err != nil {
					t.Fatal(err)
				}
			}
			time.Sleep(50 * time.Millisecond) // the process is not new any more
			if err := writer.instance.SetPeers(writer.url); err != nil {
				t.Fatal(err)
			}
			time.Sleep(100 * time.Millisecond) // and has forgotten who was a peer
			c.source.answer = func(context.Context, string) (string, error) { return "new", nil }
			for _, key := range keys {
				if err := writer.group.Remove(t.Context(), key); err != nil {
					t.Fatal(err)
				}
			}
			owner.behind(around)
			if err := writer.instance.SetPeers(writer.url, owner.url); err != nil {
				t.Fatal(err)
			}
			for _, key := range keys {
				if v, err := get(t.Context(), writer.group, key); v != "new" || err != nil {
					t.Fatalf("%q, %v", v, err)
				}
				time.Sleep(5 * time.Millisecond)
			}
		})
	}
}

// A removal that was refused for a moment was dropped for good, though the peer took others soon
// after.
func TestAPeerThatRefusedARemovalForAMomentForgetsSoonAfter(t *testing.T) {
	c := startCluster(t, 2, overHTTP)
	owner, writer := c.nodes[0], c.nodes[1]
	key := c.ownedBy(t, owner)
	if _, err := get(t.Context(), owner.group, key); err != nil {
		t.Fatal(err)
	}
	c.source.answer = func(context.Context, string) (string, error) { return "new", nil }
	owner.behind(refuses(http.StatusNotFound, method("DELETE", "POST")))
	if err := writer.group.Remove(t.Context(), key); err == nil {
		t.Error("Remove reports success")
	}
	owner.behind(func(h http.Handler) http.Handler { return h })
	eventually(t, "the old value is gone", func() bool {
		_ = writer.group.Remove(t.Context(), "another key")
		v, err := get(t.Context(), owner.group, key)
		_, errOther := get(t.Context(), writer.group, c.ownedBy(t, owner, fmt.Sprint(time.Now().UnixNano())))
		return v == "new" && err == nil && errOther == nil
	})
}
