package groupcache_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/holdfast-go/holdfast/groupcache"
	"github.com/holdfast-go/holdfast/groupcache/consistenthash"
	pb "github.com/holdfast-go/holdfast/groupcache/groupcachepb"
	"github.com/holdfast-go/holdfast/groupcache/singleflight"
)

// original is a model of a process that runs mailgun's v2.6.0: its ring, its requests, its answers,
// and what it does with those of others. It has one group, "g", and forgets nothing but removed
// keys.
type original struct {
	url    string
	load   func(key string) (string, error)
	client *http.Client
	server *http.Server
	loads  singleflight.Group

	mu        sync.Mutex
	ring      *consistenthash.Map // guarded by mu
	peers     []string            // guarded by mu
	main, hot map[string]string   // guarded by mu
	requests  []string            // method and path; guarded by mu
	hung      chan struct{}       // not nil: requests wait for it; guarded by mu
}

func startOriginal(t *testing.T, load func(key string) (string, error)) *original {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{}
	o := &original{
		url: "http://" + l.Addr().String(), load: load, client: &http.Client{Transport: transport},
		main: map[string]string{}, hot: map[string]string{}, ring: consistenthash.New(50, nil),
	}
	o.server = &http.Server{Handler: o, ReadHeaderTimeout: time.Minute}
	var serving sync.WaitGroup
	serving.Go(func() { _ = o.server.Serve(l) }) // it ends by Close
	t.Cleanup(func() {
		_ = o.server.Close()
		serving.Wait()
		transport.CloseIdleConnections()
	})
	return o
}

func (o *original) address() string { return o.url }

func (o *original) setPeers(urls ...string) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.ring, o.peers = consistenthash.New(50, nil), urls
	o.ring.Add(urls...)
	return nil
}

// owner is the URL of the owner of a key, "" for this process.
func (o *original) owner(key string) string {
	o.mu.Lock()
	defer o.mu.Unlock()
	if owner := o.ring.Get(key); owner != o.url {
		return owner
	}
	return ""
}

// cached looks into both caches.
func (o *original) cached(key string) (string, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	v, ok := o.main[key]
	if !ok {
		v, ok = o.hot[key]
	}
	return v, ok
}

func (o *original) keep(cache map[string]string, key, v string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	cache[key] = v
}

func (o *original) drop(key string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.main, key)
	delete(o.hot, key)
}

// get is the original's Get, also for what peers ask: it passes their requests on to the owner.
func (o *original) get(ctx context.Context, key string) (string, error) {
	if v, ok := o.cached(key); ok {
		return v, nil
	}
	v, err := o.loads.Do(key, func() (any, error) {
		if v, ok := o.cached(key); ok {
			return v, nil
		}
		if owner := o.owner(key); owner != "" {
			v, err := o.fetch(ctx, owner, key)
			if err == nil || ctx.Err() != nil || errors.Is(err, &groupcache.ErrNotFound{}) || errors.Is(err, &groupcache.ErrRemoteCall{}) {
				return v, err
			}
		}
		v, err := o.load(key)
		if err == nil {
			o.keep(o.main, key, v)
		}
		return v, err
	})
	if err != nil {
		return "", err
	}
	return v.(string), nil
}

func (o *original) fetch(ctx context.Context, owner, key string) (string, error) {
	code, body, err := o.send(ctx, http.MethodGet, owner, key, nil)
	if err != nil {
		return "", err
	}
	switch message := strings.Trim(string(body), "\n"); code {
	case http.StatusOK:
	case http.StatusNotFound:
		return "", &groupcache.ErrNotFound{Msg: message}
	case http.StatusServiceUnavailable:
		return "", &groupcache.ErrRemoteCall{Msg: message}
	default:
		return "", fmt.Errorf("the server returned %d, %s", code, message)
	}
	var answer pb.GetResponse
	if err := proto.Unmarshal(body, &answer); err != nil {
		return "", err
	}
	o.keep(o.hot, key, string(answer.GetValue()))
	return string(answer.GetValue()), nil
}

func (o *original) send(ctx context.Context, method, peer, key string, body []byte) (code int, answer []byte, err error) {
	r, err := http.NewRequestWithContext(ctx, method, peer+"/_groupcache/g/"+url.PathEscape(key), bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	response, err := o.client.Do(r)
	if err != nil {
		return 0, nil, err
	}
	defer func() { _ = response.Body.Close() }()
	answer, err = io.ReadAll(response.Body)
	return response.StatusCode, answer, err
}

// tell is a PUT or DELETE.
func (o *original) tell(ctx context.Context, method, peer, key string, body []byte) error {
	code, answer, err := o.send(ctx, method, peer, key, body)
	if err == nil && code != http.StatusOK {
		err = fmt.Errorf("%s at %s: %d, %s", method, peer, code, answer)
	}
	return err
}

// tellAll tells the owner and, once it knows, all others.
func (o *original) tellAll(ctx context.Context, method, key string, body []byte, here func()) error {
	owner := o.owner(key)
	if owner != "" {
		if err := o.tell(ctx, method, owner, key, body); err != nil {
			return err
		}
	}
	here()
	o.mu.Lock()
	peers := o.peers
	o.mu.Unlock()
	errs := make([]error, len(peers))
	var others sync.WaitGroup
	for i, p := range peers {
		if p != owner && p != o.url {
			others.Go(func() { errs[i] = o.tell(ctx, method, p, key, body) })
		}
	}
	others.Wait()
	return errors.Join(errs...)
}

func (o *original) set(ctx context.Context, key, v string) error {
	body, err := proto.Marshal(&pb.SetRequest{Group: proto.String("g"), Key: &key, Value: []byte(v)})
	if err != nil {
		return err
	}
	return o.tellAll(ctx, http.MethodPut, key, body, func() { o.keep(o.main, key, v) })
}

func (o *original) remove(ctx context.Context, key string) error {
	return o.tellAll(ctx, http.MethodDelete, key, nil, func() { o.drop(key) })
}

// ServeHTTP implements http.Handler.
func (o *original) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	o.mu.Lock()
	o.requests = append(o.requests, r.Method+" "+r.URL.Path)
	hung := o.hung
	o.mu.Unlock()
	if hung != nil {
		<-hung
		return
	}
	group, key, ok := strings.Cut(strings.TrimPrefix(r.URL.Path, "/_groupcache/"), "/")
	switch {
	case !strings.HasPrefix(r.URL.Path, "/_groupcache/"):
		panic("HTTPPool serving unexpected path: " + r.URL.Path)
	case !ok:
		http.Error(w, "bad request", http.StatusBadRequest)
	case group != "g":
		http.Error(w, "no such group: "+group, http.StatusNotFound)
	case r.Method == http.MethodDelete:
		o.drop(key)
	case r.Method == http.MethodPut:
		o.servePut(w, r)
	default:
		o.serveGet(w, r, key)
	}
}

func (o *original) servePut(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	var in pb.SetRequest
	if err == nil {
		err = proto.Unmarshal(body, &in)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	o.keep(o.main, string(in.GetKey()), string(in.GetValue()))
}

func (o *original) serveGet(w http.ResponseWriter, r *http.Request, key string) {
	v, err := o.get(r.Context(), key)
	switch {
	case errors.Is(err, &groupcache.ErrNotFound{}):
		http.Error(w, err.Error(), http.StatusNotFound)
		return
	case err != nil:
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	body, err := proto.Marshal(&pb.GetResponse{Value: []byte(v)})
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/x-protobuf")
	_, _ = w.Write(body)
}

// seen lists the requests of a method, but for those that ask what this is.
func (o *original) seen(method string) (paths []string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, r := range o.requests {
		if path, ok := strings.CutPrefix(r, method+" "); ok {
			paths = append(paths, path)
		}
	}
	return paths
}

// hang makes all requests wait, those that come and those to come, until the test ends.
func (o *original) hang(t *testing.T) {
	t.Helper()
	o.mu.Lock()
	defer o.mu.Unlock()
	o.hung = make(chan struct{})
	t.Cleanup(func() { close(o.hung) })
}
