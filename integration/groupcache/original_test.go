package groupcache_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/holdfast-go/holdfast/groupcache"
	"github.com/holdfast-go/holdfast/groupcache/consistenthash"
	pb "github.com/holdfast-go/holdfast/groupcache/groupcachepb"
	"github.com/holdfast-go/holdfast/groupcache/singleflight"
)

// original is a model of a process that runs mailgun's groupcache v2.6.0, as far as it reads: it
// asks owners by GET, takes 404 for not found and 503 for the error of a Getter, and loads what
// fails otherwise itself. It forgets nothing.
type original struct {
	self   string
	load   groupcache.Getter
	client http.Client
	loads  singleflight.Group

	mu   sync.Mutex
	ring *consistenthash.Map // guarded by mu
	kept map[string]string   // guarded by mu
}

func (o *original) setPeers(urls ...string) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.ring, o.kept = consistenthash.New(50, nil), make(map[string]string)
	o.ring.Add(urls...)
	return nil
}

// look returns what is kept of a key, and its owner.
func (o *original) look(key string) (v string, ok bool, owner string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	v, ok = o.kept[key]
	return v, ok, o.ring.Get(key)
}

// get is the original's Get, also for what peers ask.
func (o *original) get(ctx context.Context, key string) (string, error) {
	v, err := o.loads.Do(key, func() (any, error) {
		v, ok, owner := o.look(key)
		if ok {
			return v, nil
		}
		err := errors.New("the owner was not asked")
		if owner != o.self {
			v, err = o.fetch(ctx, owner, key)
		}
		if err != nil && !errors.Is(err, &groupcache.ErrNotFound{}) && !errors.Is(err, &groupcache.ErrRemoteCall{}) {
			err = o.load.Get(ctx, key, groupcache.StringSink(&v))
		}
		if err != nil {
			return "", err
		}
		o.mu.Lock()
		defer o.mu.Unlock()
		o.kept[key] = v
		return v, nil
	})
	if err != nil {
		return "", err
	}
	return v.(string), nil
}

func (o *original) fetch(ctx context.Context, owner, key string) (string, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, owner+base+"g/"+url.PathEscape(key), nil)
	if err != nil {
		return "", err
	}
	response, err := o.client.Do(r)
	if err != nil {
		return "", err
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return "", err
	}
	switch message := strings.Trim(string(body), "\n"); response.StatusCode {
	case http.StatusOK:
	case http.StatusNotFound:
		return "", &groupcache.ErrNotFound{Msg: message}
	case http.StatusServiceUnavailable:
		return "", &groupcache.ErrRemoteCall{Msg: message}
	default:
		return "", fmt.Errorf("the server returned %s, %s", response.Status, message)
	}
	var answer pb.GetResponse
	err = proto.Unmarshal(body, &answer)
	return string(answer.GetValue()), err
}

// ServeHTTP answers a peer as the original does.
func (o *original) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	v, err := o.get(r.Context(), strings.TrimPrefix(r.URL.Path, base+"g/"))
	switch {
	case errors.Is(err, &groupcache.ErrNotFound{}):
		http.Error(w, err.Error(), http.StatusNotFound)
		return
	case err != nil:
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	expire := time.Now().Add(time.Hour).UnixNano()
	body, err := proto.Marshal(&pb.GetResponse{Value: []byte(v), Expire: &expire})
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/x-protobuf")
	_, _ = w.Write(body)
}
