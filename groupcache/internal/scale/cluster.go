package main

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/holdfast-go/holdfast/groupcache"
	"github.com/holdfast-go/holdfast/groupcache/consistenthash"
)

// node is one process of a cluster, in this one.
type node struct {
	instance *groupcache.Instance
	group    *groupcache.Group
	url      string
	server   *http.Server
	tally    tally        // of the requests it has got
	opened   atomic.Int64 // connections to it
	hung     atomic.Bool  // takes requests and answers none
}

// ServeHTTP implements http.Handler.
func (n *node) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	explores := strings.HasSuffix(r.URL.Path, "/_groupcache/") && (r.Method == http.MethodGet || r.Method == http.MethodPost)
	if !explores {
		n.tally.add(r.Method)
	}
	if n.hung.Load() {
		_, _ = io.Copy(io.Discard, r.Body) // only then the server notices that the client leaves
		<-r.Context().Done()
		return
	}
	n.instance.Handler().ServeHTTP(w, r)
}

// cluster are instances that reach each other over loopback.
type cluster struct {
	nodes   []*node
	urls    []string
	ring    *consistenthash.Map // the one they use
	serving sync.WaitGroup
}

// newCluster starts n instances, which have no peers yet.
func newCluster(ctx context.Context, n int, adapt func(*groupcache.Options)) (*cluster, error) {
	c := &cluster{}
	for range n {
		if err := c.start(ctx, adapt); err != nil {
			return nil, errors.Join(err, c.close())
		}
	}
	return c, nil
}

func (c *cluster) start(ctx context.Context, adapt func(*groupcache.Options)) error {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	// HashRing is the ring that join knows; what is counted are requests and connections of HTTP.
	o := groupcache.Options{Self: "http://" + l.Addr().String(), Ring: groupcache.HashRing, Frames: groupcache.FramesOff}
	if adapt != nil {
		adapt(&o)
	}
	i, g, err := newInstance(o)
	if err != nil {
		return errors.Join(err, l.Close())
	}
	nd := &node{instance: i, group: g, url: o.Self}
	nd.server = &http.Server{Handler: nd, ReadHeaderTimeout: time.Minute, ConnState: func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			nd.opened.Add(1)
		}
	}}
	c.nodes, c.urls = append(c.nodes, nd), append(c.urls, nd.url)
	c.serving.Go(func() { _ = nd.server.Serve(l) }) // it ends with ErrServerClosed, or the requests fail
	return nil
}

// join gives the first instances all peers, and waits until they have been greeted.
func (c *cluster) join(ctx context.Context, callers int) error {
	c.ring = consistenthash.New(defaultReplicas, nil)
	c.ring.Add(c.urls...)
	for _, n := range c.nodes[:callers] {
		if err := n.instance.SetPeers(c.urls...); err != nil {
			return err
		}
	}
	for _, n := range c.nodes[:callers] {
		if err := eventually(ctx, "the peers know each other", func() bool { return acquainted(n.instance) == len(c.nodes)-1 }); err != nil {
			return err
		}
	}
	return nil
}

// got is how many requests with these methods all instances have got.
func (c *cluster) got(methods ...string) (n int) {
	for _, nd := range c.nodes {
		n += nd.tally.of(methods...)
	}
	return n
}

// opened is how many connections there have been.
func (c *cluster) opened() (n int) {
	for _, nd := range c.nodes {
		n += int(nd.opened.Load())
	}
	return n
}

func (c *cluster) close() error {
	var errs []error
	for _, nd := range c.nodes {
		errs = append(errs, nd.instance.Close())
	}
	for _, nd := range c.nodes {
		errs = append(errs, nd.server.Close())
	}
	c.serving.Wait()
	return errors.Join(errs...)
}

// sizes are the numbers of peers up to a largest one; that one if all are larger.
func sizes(all []int, largest int) (small []int) {
	for _, n := range all {
		if n <= largest {
			small = append(small, n)
		}
	}
	if len(small) == 0 {
		return []int{largest}
	}
	return small
}
