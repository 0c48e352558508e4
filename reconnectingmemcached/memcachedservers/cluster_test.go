package memcachedservers_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcachedservers"
)

// cluster is some nodes that answer as those of ElastiCache and Memorystore do, quirks included.
type cluster struct {
	mu      sync.Mutex
	answers map[string]func(command string) string // guarded by mu; of each node's address; nil: it is down
	asked   []string                               // guarded by mu
}

func (c *cluster) set(address string, answer func(command string) string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.answers == nil {
		c.answers = make(map[string]func(string) string)
	}
	c.answers[address] = answer
}

func (c *cluster) dial(_ context.Context, network, address string) (net.Conn, error) {
	c.mu.Lock()
	answer := c.answers[address]
	c.asked = append(c.asked, address)
	c.mu.Unlock()
	if answer == nil {
		return nil, &net.OpError{Op: "dial", Net: network, Err: net.ErrClosed}
	}
	near, far := net.Pipe()
	go func() {
		defer func() { _ = far.Close() }()
		for in := bufio.NewScanner(far); in.Scan(); {
			if _, err := far.Write([]byte(answer(strings.TrimSuffix(in.Text(), "\r")))); err != nil {
				return
			}
		}
	}()
	return near, nil
}

const (
	since1414  = "config get cluster"
	before1414 = "get AmazonElastiCache:cluster"
)

// says answers with a list of nodes; the length is a correct server's and some more.
func says(version int, nodes string, wrong int) func(string) string {
	return func(command string) string {
		if command != since1414 {
			return "ERROR\r\n"
		}
		body := fmt.Sprintf("%d\n%s\n", version, nodes)
		return fmt.Sprintf("CONFIG cluster 0 %d\r\n%s\r\nEND\r\n", len(body)+wrong, body)
	}
}

const two = "b.0002.use1.cache.amazonaws.com|10.0.0.2|11211 a.0001.use1.cache.amazonaws.com|10.0.0.1|11211"

func TestAnswersOfNodes(t *testing.T) {
	names := []string{"a.0001.use1.cache.amazonaws.com:11211", "b.0002.use1.cache.amazonaws.com:11211"}
	var longNodes string
	var longNames []string
	for i := range 1000 {
		name := fmt.Sprintf("%04d%s", i, strings.Repeat("x", 249))
		longNodes += name + "|2001:db8:1111:2222:3333:4444:5555:6666|11211 "
		longNames = append(longNames, name+":11211")
	}
	always := func(answer string) func(string) string { return func(string) string { return answer } }
	for _, tt := range []struct {
		what   string
		answer func(string) string
		want   []string
		err    string
	}{
		{"ElastiCache", says(12, two, 0), names, ""},
		{"a length that is too small", says(12, two, -3), names, ""},
		{"a length that is too large", says(12, two, 2), names, ""},
		{"lines that end in CRLF", always("CONFIG cluster 0 99\r\n12\r\n" + two + "\r\n\r\nEND\r\n"), names, ""},
		{"no empty line before END", always("CONFIG cluster 0 99\r\n12\n" + two + "\nEND\r\n"), names, ""},
		{"before 1.4.14", func(command string) string {
			if command == before1414 {
				return "VALUE AmazonElastiCache:cluster 0 99\r\n12\n" + two + "\n\r\nEND\r\n"
			}
			return "ERROR\r\n"
		}, names, ""},
		{"Memorystore", says(1, "10.1.2.3|10.1.2.3|11211 10.1.2.4|10.1.2.4|11211", 0), []string{"10.1.2.3:11211", "10.1.2.4:11211"}, ""},
		{"no address", says(1, "a||11211", 0), []string{"a:11211"}, ""},
		{"no name", says(1, "|10.0.0.1|11211", 0), []string{"10.0.0.1:11211"}, ""},
		{"IPv6", says(1, "a|[::1]|11211 |[::1]|11212 ::2||11213", 0), []string{"[::1]:11212", "[::2]:11213", "a:11211"}, ""},
		{"a node twice", says(1, "a||11211 a||11211", 0), []string{"a:11211"}, ""},
		{"a plain memcached", func(command string) string {
			if command == before1414 {
				return "END\r\n"
			}
			return "ERROR\r\n"
		}, nil, "does not know its cluster"},
		{"no password", always("CLIENT_ERROR unauthenticated\r\n"), nil, "CLIENT_ERROR unauthenticated"},
		{"no nodes", says(1, "", 0), nil, "malformed"},
		{"no port", says(1, "a|10.0.0.1|", 0), nil, "malformed"},
		{"port 0", says(1, "a|10.0.0.1|0", 0), nil, "malformed"},
		{"port 65536", says(1, "a|10.0.0.1|65536", 0), nil, "malformed"},
		{"a path, which is a unix socket to the client", says(1, "a||11211 /run/x||11211", 0), nil, "no host and port"},
		{"a login", says(1, "app:secret@a||11211", 0), nil, "no host and port"},
		{"any address", says(1, "|0.0.0.0|11211", 0), nil, "no host and port"},
		{"half a node", says(1, "a|10.0.0.1|11211 b|10.0", 0), nil, "malformed"},
		{"no version", always("CONFIG cluster 0 9\r\n" + two + "\n\r\nEND\r\n"), nil, "malformed"},
		{"a version that is none", always("CONFIG cluster 0 9\r\nx\n" + two + "\n\r\nEND\r\n"), nil, "malformed"},
		{"too many nodes", says(1, strings.Repeat("a||11211 ", 1001), 0), nil, "1001 nodes"},
		{"no end", always("CONFIG cluster 0 9\r\n" + strings.Repeat("x", 400_000)), nil, "more than 327680 bytes"},
		{"many nodes with long names", says(1, longNodes, 0), longNames, ""},
	} {
		var c cluster
		c.set("config:11211", tt.answer)
		source := &memcachedservers.Cluster{Endpoint: "config:11211", DialContext: c.dial}
		got, err := source.List(t.Context())
		if !slices.Equal(got, tt.want) || (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%s: %.200q, %v; want %.200q and an error with %q", tt.what, got, err, tt.want, tt.err)
		}
	}
}

// TestVersionsOfNodes: nodes that lag behind are not believed, but a cluster that was built anew
// is.
func TestVersionsOfNodes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c cluster
		source := &memcachedservers.Cluster{Endpoint: "config:11211", DialContext: c.dial}
		list := func(want string) {
			t.Helper()
			got, err := source.List(t.Context())
			if err != nil || strings.Join(got, " ") != want {
				t.Errorf("%q, %v; want %q", got, err, want)
			}
		}
		c.set("config:11211", says(2, "a||1 b||1", 0))
		list("a:1 b:1")
		c.set("a:1", says(1, "a||1", 0)) // has not heard yet
		list("a:1 b:1")
		c.set("b:1", says(3, "a||1 b||1 c||1", 0)) // knows more than the others
		list("a:1 b:1 c:1")
		list("a:1 b:1 c:1") // c:1 is down, the endpoint behind
		if want := []string{"config:11211", "a:1", "b:1", "c:1", "config:11211"}; !slices.Equal(c.asked, want) {
			t.Errorf("asked %q, want %q", c.asked, want)
		}
		for _, node := range []string{"config:11211", "a:1", "b:1", "c:1"} {
			c.set(node, says(1, "x||1 y||1", 0)) // built anew
		}
		list("a:1 b:1 c:1")
		time.Sleep(59 * time.Second)
		list("a:1 b:1 c:1")
		time.Sleep(2 * time.Second)
		list("x:1 y:1")
	})
}

func TestTwoListsWithOneVersion(t *testing.T) {
	var c cluster
	c.set("config:11211", says(3, "a||1 b||1", 0))
	source := &memcachedservers.Cluster{Endpoint: "config:11211", DialContext: c.dial}
	if _, err := source.List(t.Context()); err != nil {
		t.Fatal(err)
	}
	c.set("a:1", says(3, "a||1", 0))
	if got, err := source.List(t.Context()); err == nil || !strings.Contains(err.Error(), "two lists") {
		t.Errorf("%q, %v; want an error", got, err)
	}
}

// TestAClusterForTwo tells of two clients with one source. While one asked a node that hung, the
// other waited for that, however little time it had.
func TestAClusterForTwo(t *testing.T) {
	dialling, release := make(chan struct{}, 1), make(chan struct{})
	source := &memcachedservers.Cluster{Endpoint: "config:11211", DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		dialling <- struct{}{}
		<-release
		return nil, net.ErrClosed
	}}
	var asking sync.WaitGroup
	asking.Go(func() { _, _ = source.List(t.Context()) })
	<-dialling
	ended, end := context.WithCancel(t.Context())
	end()
	second := make(chan error, 1)
	asking.Go(func() {
		_, err := source.List(ended)
		second <- err
	})
	select {
	case err := <-second:
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%v, want the end of the context", err)
		}
	case <-time.After(10 * time.Second):
		t.Error("List waits for that of another")
	}
	close(release)
	asking.Wait()
}

func TestAClusterThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c cluster
		c.set("config:11211", func(string) string { return "CONFIG" })
		source := &memcachedservers.Cluster{Endpoint: "config:11211", DialContext: c.dial}
		began := time.Now()
		if _, err := source.List(t.Context()); err == nil || time.Since(began) != 2*time.Second {
			t.Errorf("%v after %v", err, time.Since(began))
		}
	})
}

// A function of the user's that fails while a node is asked left its connection open, and with it
// the other nodes unasked.
func TestAClusterWhoseFunctionsFail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for manner, how := range map[string]func(){"panicked": func() { panic("oops") }, "ended its goroutine": runtime.Goexit} {
			nodes := &cluster{}
			nodes.set("node:11211", says(1, "a.example|10.0.0.1|11211", 0))
			var closed atomic.Int64
			c := &memcachedservers.Cluster{
				Endpoint: "node:11211", TLS: &tls.Config{MinVersion: tls.VersionTLS12, Rand: failingRand{how}},
				DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
					conn, err := nodes.dial(ctx, network, address)
					return counted{conn, &closed}, err
				},
			}
			if _, err := c.List(t.Context()); err == nil || !strings.Contains(err.Error(), "a function of Cluster.TLS "+manner) {
				t.Errorf("%s: List = %v", manner, err)
			}
			if closed.Load() != 1 {
				t.Errorf("%s: %d connections closed, want the one", manner, closed.Load())
			}
			c = &memcachedservers.Cluster{
				Endpoint: "node:11211", DialContext: func(context.Context, string, string) (net.Conn, error) { how(); return nil, nil },
			}
			if _, err := c.List(t.Context()); err == nil || !strings.Contains(err.Error(), "Cluster.DialContext "+manner) {
				t.Errorf("%s: List = %v", manner, err)
			}
		}
	})
}

type failingRand struct{ how func() }

func (r failingRand) Read([]byte) (int, error) { r.how(); return 0, nil }

// counted counts its end.
type counted struct {
	net.Conn
	closed *atomic.Int64
}

func (c counted) Close() error {
	c.closed.Add(1)
	return c.Conn.Close()
}
