package main

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/holdfast-go/holdfast/internal/testutil"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// start serves until the test ends.
func start(t *testing.T, c config) (s *service, url string) {
	t.Helper()
	s, err := newService(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	var listen net.ListenConfig
	listener, err := listen.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- serve(ctx, listener, s) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		s.close()
	})
	return s, "http://" + listener.Addr().String()
}

func newHTTP(t *testing.T) *http.Client {
	t.Helper()
	transport := &http.Transport{MaxIdleConnsPerHost: 64}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: 10 * time.Second}
}

func get(ctx context.Context, client *http.Client, url string) (code int, body string, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return 0, "", err
	}
	answer, err := client.Do(request)
	if err != nil {
		return 0, "", err
	}
	defer answer.Body.Close()
	data, err := io.ReadAll(answer.Body)
	return answer.StatusCode, string(data), err
}

func TestAnswers(t *testing.T) {
	server := testutil.StartMemcached(t)
	s, url := start(t, config{
		memcached: server.Addr(), database: filepath.Join(t.TempDir(), "products.db"), products: 100, period: time.Minute, shield: 100,
	})
	client := newHTTP(t)
	for _, x := range []struct {
		path string
		code int
		want string
	}{
		{"/products/42", http.StatusOK, `{"id":42,"name":"Product 42","cents":394}`},
		{"/products/42", http.StatusOK, `{"id":42,"name":"Product 42","cents":394}`},
		{"/products/101", http.StatusNotFound, "no such product"},
		{"/products/101", http.StatusNotFound, "no such product"},
		{"/products/x", http.StatusBadRequest, "a product's id is a number"},
		{"/metrics", http.StatusOK, `holdfast_autorefresh_loads_total{client="products",result="ok"} 1`},
	} {
		code, body, err := get(t.Context(), client, url+x.path)
		if err != nil || code != x.code || !strings.Contains(body, x.want) {
			t.Errorf("GET %s: %d %q, %v; want %d %q", x.path, code, body, err, x.code, x.want)
		}
	}
	if n := s.database.queries.Load(); n != 2 {
		t.Errorf("%d queries, want one for the product and one for the one that is not there", n)
	}
}

// fleet is three replicas under load.
type fleet struct {
	services []*service
	urls     []string
	client   *http.Client
	pause    time.Duration // between two requests of a reader

	answered, failed atomic.Int64
}

// TestMemcachedIsKilledUnderLoad: the requests are answered, and the database sees at most twice
// what it sees otherwise: each product once a period.
func TestMemcachedIsKilledUnderLoad(t *testing.T) {
	testutil.AtSomePace(t, func(p *testutil.Pace) { killUnderLoad(t, p) })
}

func killUnderLoad(t *testing.T, pace *testutil.Pace) {
	t.Helper()
	const products, replicas = 500, 3
	period := pace.Longer(time.Second)
	usual := products / period.Seconds() // queries a second
	server := testutil.StartMemcached(t)
	f := &fleet{client: newHTTP(t), pause: pace.Longer(20 * time.Millisecond)}
	c := config{
		memcached: server.Addr(), database: filepath.Join(t.TempDir(), "products.db"), products: products, period: period,
		// All replicas together may ask for twice what they ask for when they can share.
		shield: 2 * usual / replicas,
	}
	for range replicas {
		s, url := start(t, c)
		f.services, f.urls = append(f.services, s), append(f.urls, url)
	}
	f.warm(t, products)
	ctx, cancel := context.WithCancel(t.Context())
	var load sync.WaitGroup
	for i := range 16 {
		load.Go(func() { f.read(ctx, rand.New(rand.NewPCG(uint64(i), 1)), products) })
	}
	defer load.Wait()
	defer cancel()

	time.Sleep(2 * period)
	healthy := f.during("memcached up", t, func() { time.Sleep(3 * period) })
	if err := server.Kill(); err != nil {
		t.Fatal(err)
	}
	dead := f.during("memcached dead", t, func() { time.Sleep(6 * period) })
	if dead.share < 0.999 {
		pace.Errorf("%.3f %% of the requests were answered, want 99.9 %%", 100*dead.share)
	}
	if dead.queries > 2*usual*1.05 { // a moment passes before it is found dead
		pace.Errorf("%.0f queries a second, want %.0f at most", dead.queries, 2*usual)
	}
	if err := server.Restart(); err != nil {
		t.Fatal(err)
	}
	time.Sleep(3 * period)
	again := f.during("memcached up again", t, func() { time.Sleep(3 * period) })
	for _, p := range []phase{healthy, again} {
		if p.share < 0.999 || p.queries > 1.5*usual {
			pace.Errorf("memcached up: %.3f %% answered and %.0f queries a second, want 99.9 %% and about %.0f", 100*p.share, p.queries, usual)
		}
	}
}

// warm has each replica load all products. A busy machine may not ask for the unpopular ones before
// memcached is killed, and what nobody has loaded is loaded no sooner than the shield lets it be.
func (f *fleet) warm(t *testing.T, products int) {
	t.Helper()
	var readers sync.WaitGroup
	for _, url := range f.urls {
		for first := range 8 {
			readers.Go(func() {
				for id := 1 + first; id <= products; id += 8 {
					address := fmt.Sprintf("%s/products/%d", url, id)
					deadline := time.Now().Add(time.Minute)
					for code := 0; code != http.StatusOK && t.Context().Err() == nil; code, _, _ = get(t.Context(), f.client, address) {
						if time.Now().After(deadline) {
							t.Errorf("%s: not within a minute", address)
							return
						}
					}
				}
			})
		}
	}
	readers.Wait()
}

// read asks for products, popular ones more often.
func (f *fleet) read(ctx context.Context, random *rand.Rand, products int) {
	zipf := rand.NewZipf(random, 1.01, 1, uint64(products-1))
	for ctx.Err() == nil {
		url := fmt.Sprintf("%s/products/%d", f.urls[random.IntN(len(f.urls))], 1+zipf.Uint64())
		code, _, err := get(ctx, f.client, url)
		switch {
		case ctx.Err() != nil:
		case err != nil || code != http.StatusOK:
			f.failed.Add(1)
		default:
			f.answered.Add(1)
		}
		time.Sleep(f.pause)
	}
}

// phase is what happened in a stretch of time.
type phase struct {
	share    float64 // of the requests that were answered
	requests float64 // a second
	queries  float64 // a second, of all replicas
}

func (f *fleet) during(name string, t *testing.T, wait func()) phase {
	t.Helper()
	answered, failed, queries, began := f.answered.Load(), f.failed.Load(), f.queries(), time.Now()
	wait()
	seconds := time.Since(began).Seconds()
	good, bad := float64(f.answered.Load()-answered), float64(f.failed.Load()-failed)
	p := phase{good / (good + bad), (good + bad) / seconds, float64(f.queries()-queries) / seconds}
	t.Logf("%s: %.0f requests/s, %.3f %% answered, %.0f database queries/s", name, p.requests, 100*p.share, p.queries)
	return p
}

func (f *fleet) queries() (n int64) {
	for _, s := range f.services {
		n += s.database.queries.Load()
	}
	return n
}
