// Command groupcache-etcd is one node of a cluster that shares a cache over gRPC. Nodes find each
// other by etcd, or by the name of a headless service. README.md says how to start three of them.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"
)

func main() {
	var o options
	flag.StringVar(&o.self, "self", "127.0.0.1:6324", "address at which the other nodes reach this one")
	flag.StringVar(&o.listen, "listen", "", "address to listen on for the other nodes; default that of -self")
	flag.StringVar(&o.http, "http", "127.0.0.1:8081", "address of the service that uses the cache")
	flag.StringVar(&o.etcd, "etcd", "", "etcd's endpoints, separated by commas; default $ETCDCTL_ENDPOINTS, then localhost:2379")
	flag.StringVar(&o.dns, "dns", "", "find the other nodes by this name, with the port of -self, and not by etcd")
	flag.DurationVar(&o.grace, "grace", 5*time.Second, "how long a node that has left goes on answering the others")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// options are the command's flags.
type options struct {
	self, listen, http, etcd, dns string
	grace                         time.Duration
}

// run serves until the context ends, and then leaves in good order.
func run(ctx context.Context, o options) error {
	if o.listen == "" {
		o.listen = o.self
	}
	peers, err := (&net.ListenConfig{}).Listen(ctx, "tcp", o.listen)
	if err != nil {
		return err
	}
	n, err := startNode(ctx, o, peers)
	if err != nil {
		return errors.Join(err, peers.Close())
	}
	users := &http.Server{Addr: o.http, Handler: n.handler(), ReadHeaderTimeout: 5 * time.Second}
	failed := make(chan error, 1)
	go func() { failed <- users.ListenAndServe() }()
	log.Printf("http://%s/user/42, /debug/groupcache, /metrics; peers reach this node at %s", o.http, o.self)
	select {
	case err = <-failed:
	case <-ctx.Done():
		log.Print("handing over, then leaving")
	}
	ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), o.grace+20*time.Second)
	defer cancel()
	if err := n.leave(ending); err != nil {
		log.Print(err) // the others load the rest
	}
	return errors.Join(err, users.Shutdown(ending), n.stop(ending))
}

// portOf is the port of an address, for discovery by DNS.
func portOf(addr string) (int, error) {
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(port)
}
