package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/holdfast-go/holdfast/internal/testutil/redis"
)

// forgeLimit bounds what a forgery waits for: a connection, and a client that does not read.
const forgeLimit = 2 * time.Second

// message is what a sentinel publishes.
type message struct{ channel, payload string }

// forgery stands before the first sentinel, under an address that this one announces as its own,
// and can add messages to what it publishes. A real sentinel refuses to publish for others.
type forgery struct {
	listener net.Listener
	sentinel *redis.Sentinel
	foreign  *redis.Server // no part of the cluster
	workers  sync.WaitGroup
	cancel   context.CancelFunc

	mu    sync.Mutex
	conns map[*forged]struct{} // guarded by mu
}

// forged is one connection of a client to the sentinel.
type forged struct {
	client, server net.Conn

	mu       sync.Mutex
	resp3    bool     // guarded by mu
	channels []string // guarded by mu
	patterns []string // guarded by mu
}

// startForgery makes the first sentinel of the cluster announce the forger's address and starts a
// foreign server.
//
//nolint:contextcheck // it lasts until close, not as long as the call that starts it.
func startForgery(ctx context.Context, c cluster) (*forgery, error) {
	foreign, err := redis.LaunchServer(ctx, redis.ServerOptions{})
	if err != nil {
		return nil, err
	}
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, errors.Join(err, foreign.Close())
	}
	life, cancel := context.WithCancel(context.Background())
	f := &forgery{listener: listener, sentinel: c.Sentinels()[0], foreign: foreign, cancel: cancel, conns: make(map[*forged]struct{})}
	f.workers.Go(func() { f.accept(life) })
	if err := f.announce(ctx, c.Sentinels()[1]); err != nil {
		f.close()
		return nil, err
	}
	return f, nil
}

// announce waits until another sentinel knows the first one by the forger's address.
func (f *forgery) announce(ctx context.Context, other *redis.Sentinel) error {
	host, port, err := net.SplitHostPort(f.addr())
	if err != nil {
		return err
	}
	for _, setting := range [][2]string{{"announce-ip", host}, {"announce-port", port}} {
		if _, err := f.sentinel.Do(ctx, "SENTINEL", "CONFIG", "SET", setting[0], setting[1]); err != nil {
			return err
		}
	}
	known := await(ctx, settleLimit, func() bool {
		view, err := other.View(ctx, master)
		return err == nil && slices.ContainsFunc(view.Sentinels, func(s map[string]string) bool { return s["port"] == port })
	})
	if !known {
		return errors.New("the sentinels did not learn the forger's address")
	}
	return nil
}

func (f *forgery) addr() string { return f.listener.Addr().String() }

func (f *forgery) close() {
	f.cancel()
	_ = f.listener.Close()
	f.workers.Wait()
	_ = f.foreign.Close()
}

// lies are a switch to a foreign server, one to a replica, and the selection of that replica.
func (f *forgery) lies(primary, replica string) []message {
	spaced := func(addr string) string { return strings.ReplaceAll(addr, ":", " ") }
	return []message{
		{"+switch-master", fmt.Sprintf("%s %s %s", master, spaced(primary), spaced(f.foreign.Addr()))},
		{"+switch-master", fmt.Sprintf("%s %s %s", master, spaced(primary), spaced(replica))},
		{"+selected-slave", fmt.Sprintf("slave %s %s @ %s %s", replica, spaced(replica), master, spaced(primary))},
	}
}

func (f *forgery) accept(ctx context.Context) {
	for {
		client, err := f.listener.Accept()
		if err != nil {
			return
		}
		f.workers.Go(func() { f.pass(ctx, client) })
	}
}

// pass carries a connection until one side hangs up.
func (f *forgery) pass(ctx context.Context, client net.Conn) {
	defer func() { _ = client.Close() }()
	dialer := net.Dialer{Timeout: forgeLimit}
	server, err := dialer.DialContext(ctx, "tcp", f.sentinel.Addr())
	if err != nil {
		return
	}
	c := &forged{client: client, server: server}
	stop := context.AfterFunc(ctx, c.hangUp)
	defer stop()
	f.mu.Lock()
	f.conns[c] = struct{}{}
	f.mu.Unlock()
	f.workers.Go(c.answer)
	c.listen()
	c.hangUp()
	f.mu.Lock()
	delete(f.conns, c)
	f.mu.Unlock()
}

func (c *forged) hangUp() { _ = c.client.Close(); _ = c.server.Close() }

// listen passes what the client sends and notes what it subscribes to.
func (c *forged) listen() {
	in := redis.NewConn(tapped{c.client, c.server})
	for {
		command, err := in.Receive()
		if err != nil {
			return
		}
		c.note(texts(command))
	}
}

// tapped copies the bytes read from a connection to another.
type tapped struct {
	net.Conn
	copy io.Writer
}

// Read fails as well if the copy does.
func (t tapped) Read(p []byte) (int, error) { return io.TeeReader(t.Conn, t.copy).Read(p) }

func (c *forged) note(words []string) {
	if len(words) < 2 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch strings.ToUpper(words[0]) {
	case "HELLO":
		c.resp3 = words[1] == "3"
	case "SUBSCRIBE":
		c.channels = append(c.channels, words[1:]...)
	case "PSUBSCRIBE":
		c.patterns = append(c.patterns, words[1:]...)
	}
}

// answer passes what the sentinel sends.
func (c *forged) answer() {
	defer c.hangUp()
	chunk := make([]byte, 64<<10)
	for {
		n, err := c.server.Read(chunk)
		if err != nil {
			return
		}
		c.mu.Lock()
		_, err = c.client.Write(chunk[:n])
		c.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// publish sends the message to all that have subscribed to its channel. A subscribed connection is
// silent between messages, so that it comes between two of them.
func (f *forgery) publish(m message) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for c := range f.conns {
		c.inject(m)
	}
}

func (c *forged) inject(m message) {
	c.mu.Lock()
	defer c.mu.Unlock()
	_ = c.client.SetWriteDeadline(time.Now().Add(forgeLimit))
	if slices.Contains(c.channels, m.channel) {
		_, _ = io.WriteString(c.client, c.frame("message", m.channel, m.payload))
	}
	for _, pattern := range c.patterns {
		if match, err := path.Match(pattern, m.channel); err == nil && match {
			_, _ = io.WriteString(c.client, c.frame("pmessage", pattern, m.channel, m.payload))
		}
	}
	_ = c.client.SetWriteDeadline(time.Time{})
}

// frame is a push in the protocol that the connection speaks. c.mu is held.
func (c *forged) frame(words ...string) string {
	kind := "*"
	if c.resp3 {
		kind = ">"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s%d\r\n", kind, len(words))
	for _, w := range words {
		fmt.Fprintf(&b, "$%d\r\n%s\r\n", len(w), w)
	}
	return b.String()
}
