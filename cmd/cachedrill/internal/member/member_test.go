package member_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/cmd/cachedrill/internal/member"
)

// source is a database that counts.
type source struct {
	server *httptest.Server

	mu    sync.Mutex
	loads map[string]int // guarded by mu
	fails bool           // guarded by mu
}

func newSource(t *testing.T) *source {
	t.Helper()
	s := &source{loads: make(map[string]int)}
	s.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		key := r.FormValue("key")
		s.mu.Lock()
		s.loads[key]++
		n, fails := s.loads[key], s.fails
		s.mu.Unlock()
		time.Sleep(5 * time.Millisecond) // so that others come meanwhile
		if fails {
			http.Error(w, "no luck", http.StatusInternalServerError)
			return
		}
		_, _ = fmt.Fprintf(w, "%s/%d", key, n)
	}))
	t.Cleanup(s.server.Close)
	return s
}

func (s *source) count(key string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.loads[key]
}

func (s *source) fail() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fails = true
}

// family is members in this process.
type family struct {
	source  *source
	servers []*httptest.Server
	urls    []string
	caches  []member.Cache
}

func newFamily(t *testing.T, base member.Config) *family {
	t.Helper()
	f := &family{source: newSource(t)}
	for range 3 {
		f.servers = append(f.servers, httptest.NewUnstartedServer(nil))
		f.urls = append(f.urls, "http://"+f.servers[len(f.servers)-1].Listener.Addr().String())
	}
	for i, s := range f.servers {
		config := base
		config.Number, config.Self, config.URLs, config.Database = i+1, f.urls[i], f.urls, f.source.server.URL+"/"
		config.Timeout, config.Room, config.ItemSize = 10*time.Second, 700, 50
		c, err := member.NewCache(config)
		if err != nil {
			t.Fatal(err)
		}
		f.caches = append(f.caches, c)
		s.Config.Handler = c.Handler()
		s.Start()
		t.Cleanup(func() {
			if err := c.Close(); err != nil {
				t.Error(err)
			}
			s.Close()
		})
	}
	for _, c := range f.caches {
		if err := c.Join(); err != nil {
			t.Fatal(err)
		}
	}
	if !base.Plain {
		f.awaitPeers(t)
	}
	return f
}

func (f *family) awaitPeers(t *testing.T) {
	t.Helper()
	for begin := time.Now(); ; time.Sleep(time.Millisecond) {
		up := 0
		for _, c := range f.caches {
			for _, asks := range c.State() {
				if asks {
					up++
				}
			}
		}
		if up == 6 {
			return
		}
		if time.Since(begin) > 20*time.Second {
			t.Fatalf("%d of 6 peers are asked", up)
		}
	}
}

// ownedBy returns a key that a member owns.
func (f *family) ownedBy(i int) string {
	ring := member.NewRing(f.urls)
	for n := 0; ; n++ {
		if key := fmt.Sprintf("key %d", n); ring.Get(key) == f.urls[i] {
			return key
		}
	}
}

// sides runs a test for each.
func sides(t *testing.T, test func(t *testing.T, f *family)) {
	t.Helper()
	for name, plain := range map[string]bool{"plain": true, "holdfast": false} {
		t.Run(name, func(t *testing.T) { test(t, newFamily(t, member.Config{Plain: plain})) })
	}
}

// A process that gets no processor for a quarter of a second is a silent one to holdfast, and the
// next owner loads in its place.
func TestAHerdIsLoadedOnce(t *testing.T) {
	sides(t, func(t *testing.T, f *family) {
		most := 1
		if strings.HasSuffix(t.Name(), "/holdfast") {
			most = 2
		}
		key := f.ownedBy(0)
		var all sync.WaitGroup
		for _, c := range f.caches {
			all.Go(func() {
				h := c.CallTogether(t.Context(), key, 50, 10*time.Second)
				if len(h.Answered) != 50 || len(h.Failed) != 0 || h.Error != "" {
					t.Errorf("%d answers, %d errors: %s", len(h.Answered), len(h.Failed), h.Error)
				}
			})
		}
		all.Wait()
		if n := f.source.count(key); n < 1 || n > most {
			t.Errorf("%d loads of 150 calls, want one, and at most %d on a busy machine", n, most)
		}
	})
}

func TestARemovedKeyIsLoadedAgain(t *testing.T) {
	sides(t, func(t *testing.T, f *family) {
		key := f.ownedBy(0)
		for _, want := range []string{key + "/1", key + "/2"} {
			for i, c := range f.caches {
				if got, err := c.Get(t.Context(), key); got != want || err != nil {
					t.Errorf("member %d: Get(%q) = %q, %v, want %q", i+1, key, got, err, want)
				}
			}
			if err := f.caches[2].Remove(t.Context(), key); err != nil {
				t.Errorf("Remove(%q) = %v", key, err)
			}
		}
	})
}

func TestAnErrorOfTheDatabaseIsReturned(t *testing.T) {
	sides(t, func(t *testing.T, f *family) {
		f.source.fail()
		key := f.ownedBy(0)
		for i, c := range f.caches {
			if got, err := c.Get(t.Context(), key); err == nil || !strings.Contains(err.Error(), "no luck") {
				t.Errorf("member %d: Get(%q) = %q, %v, want the error", i+1, key, got, err)
			}
		}
		if n := f.source.count(key); n != 3 {
			t.Errorf("%d loads, want no second one after an error", n)
		}
	})
}

// What the drill compares with: the original's ways.
func TestPlainLoadsItselfAndKeepsCopiesWhenAnOwnerIsGone(t *testing.T) {
	f := newFamily(t, member.Config{Plain: true})
	copied, cold := f.ownedBy(0), f.ownedBy(0)+" again"
	for n := 0; member.NewRing(f.urls).Get(cold) != f.urls[0]; n++ {
		cold = fmt.Sprintf("cold %d", n)
	}
	if _, err := f.caches[1].Get(t.Context(), copied); err != nil {
		t.Fatal(err)
	}
	f.servers[0].CloseClientConnections()
	f.servers[0].Close()
	for i, c := range f.caches[1:] {
		if got, err := c.Get(t.Context(), cold); err != nil || !strings.HasPrefix(got, cold) {
			t.Errorf("member %d: Get(%q) = %q, %v, want the value", i+2, cold, got, err)
		}
	}
	if n := f.source.count(cold); n != 2 {
		t.Errorf("%d loads, want one by each member that is left", n)
	}
	if err := f.caches[1].Remove(t.Context(), copied); err == nil {
		t.Error("Remove succeeded without the owner")
	}
	if got, err := f.caches[1].Get(t.Context(), copied); got != copied+"/1" || err != nil {
		t.Errorf("Get(%q) = %q, %v, want the copy that was not removed", copied, got, err)
	}
}

func TestPlainWaitsForAHungOwnerUntilTheDeadline(t *testing.T) {
	f := newFamily(t, member.Config{Plain: true})
	hung := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	t.Cleanup(hung.Close)
	c, err := member.NewCache(member.Config{Plain: true, Self: "http://self", URLs: []string{hung.URL}, Database: f.source.server.URL + "/", Room: 7})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if got, err := c.Get(ctx, "k"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Get = %q, %v, want the deadline", got, err)
	}
	if n := f.source.count("k"); n != 0 {
		t.Errorf("%d loads after the deadline", n)
	}
}

func TestAMemberAnswersTheDrill(t *testing.T) {
	sides(t, func(t *testing.T, f *family) {
		key := f.ownedBy(0)
		for _, c := range []struct{ path, want string }{
			{member.GetPath, key + "/1"},
			{member.HerdPath + "?n=2", `"Failed":null`},
			{member.HerdPath + "?n=x", "invalid"},
			{member.StatePath, "{"},
			{member.RemovePath, ""},
			{member.GetPath, key + "/2"},
		} {
			if got := ask(t, f.urls[0]+c.path, key); !strings.Contains(got, c.want) {
				t.Errorf("%s answers %q, want %q", c.path, got, c.want)
			}
		}
	})
}

func ask(t *testing.T, address, key string) string {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	q.Set("key", key)
	u.RawQuery = q.Encode()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, u.String(), nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestOnlyTheArgumentsOfAMemberMakeOne(t *testing.T) {
	args, err := member.Config{Number: 2, Parent: os.Getpid()}.Args()
	if err != nil || !member.Is(args) {
		t.Errorf("%q, %v: not those of a member", args, err)
	}
	for _, other := range [][]string{nil, {"-h"}, {args[0]}, {"-out", args[1]}, append(args, "-h")} {
		if member.Is(other) {
			t.Errorf("%q are taken for those of a member", other)
		}
	}
}

func TestAMemberThatCannotStartSaysWhy(t *testing.T) {
	busy := httptest.NewServer(nil)
	t.Cleanup(busy.Close)
	args, err := member.Config{Self: busy.URL}.Args()
	if err != nil {
		t.Fatal(err)
	}
	for want, args := range map[string][]string{
		strings.TrimPrefix(busy.URL, "http://"): args,
		"invalid character":                     {args[0], "x"},
	} {
		if err := member.Run(args); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Run(%q) = %v, want an error with %q", args, err, want)
		}
	}
}
