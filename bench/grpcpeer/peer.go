package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/holdfast-go/holdfast/groupcache"
	"github.com/holdfast-go/holdfast/groupcache/grpcpeer"
)

const (
	overHTTP    = "HTTP"
	overGRPC    = "gRPC"
	startWithin = 10 * time.Second
	budget      = 256 << 20
)

// kinds are the networks, the one that others are compared with first.
var kinds = []string{overHTTP, overGRPC} //nolint:gochecknoglobals // never changes

// newInstance makes an instance of a kind without an address, and what serves its peers. It stands
// in for the source: a key says how large its value is, "size/anything".
func newInstance(kind string, cacheBytes int64) (*groupcache.Instance, *groupcache.Group, func(net.Listener) error, error) {
	o := groupcache.Options{Silence: startWithin} // a machine that is busy with this is no fault of the peer's
	var network *grpcpeer.Network
	if kind == overGRPC {
		var err error
		if network, err = grpcpeer.New(grpcpeer.Options{}); err != nil {
			return nil, nil, nil, err
		}
		o.Network = network
	}
	i, err := groupcache.New(o)
	if err != nil {
		return nil, nil, nil, err
	}
	value := make([]byte, 1<<20)
	g, err := i.NewGroup(group, cacheBytes, groupcache.GetterFunc(func(_ context.Context, key string, dest groupcache.Sink) error {
		size, _, _ := strings.Cut(key, "/")
		n, err := strconv.Atoi(size)
		if err != nil || n > len(value) || cacheBytes == 0 {
			return errors.New("the owner was not asked")
		}
		return dest.SetBytes(value[:n], time.Time{})
	}))
	serve := func(l net.Listener) error {
		return (&http.Server{Handler: i.Handler(), ReadHeaderTimeout: time.Minute}).Serve(l)
	}
	if network != nil {
		serve = network.Serve
	}
	return i, g, serve, err
}

// serve runs a peer that owns all keys, until its standard input ends.
func serve(kind string, args []string) error {
	if len(args) != 1 {
		return errors.New("the address is missing")
	}
	_, _, serve, err := newInstance(kind, budget)
	if err != nil {
		return err
	}
	l, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", args[0])
	if err != nil {
		return err
	}
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	return serve(l)
}

// start runs a peer in a process of its own, and returns a group that asks it.
func start(kind string) (g *groupcache.Group, stop func(), err error) {
	l, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, nil, err
	}
	address := l.Addr().String()
	_ = l.Close()
	self, err := os.Executable()
	if err != nil {
		return nil, nil, err
	}
	cmd := exec.CommandContext(context.Background(), self, "-child", kind, address)
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, nil, err
	}
	kill := func() {
		_ = stdin.Close()
		_ = cmd.Wait()
	}
	i, g, _, err := newInstance(kind, 0)
	if err == nil {
		err = meet(i, kind, address)
	}
	if err != nil {
		kill()
		return nil, nil, err
	}
	return g, func() { _ = i.Close(); kill() }, nil
}

// meet waits until the peer has shown that it is there.
func meet(i *groupcache.Instance, kind, address string) error {
	if kind == overHTTP {
		address = "http://" + address
	}
	if err := i.SetPeers(address); err != nil {
		return err
	}
	for deadline := time.Now().Add(startWithin); ; time.Sleep(10 * time.Millisecond) {
		if p := i.Debug().Peers[0]; p.Ours && p.State == "closed" {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s has not answered in %v", address, startWithin)
		}
	}
}
