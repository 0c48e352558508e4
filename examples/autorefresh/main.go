// Command autorefresh is an HTTP service that serves products of an SQLite database from memory,
// shares them with its other replicas through memcached, and goes on when memcached dies.
package main

import (
	"context"
	"errors"
	"flag"
	"log"
	"net"
	"net/http"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context) error {
	var c config
	address := flag.String("listen", "127.0.0.1:8080", "where to listen")
	flag.StringVar(&c.memcached, "memcached", "127.0.0.1:11211", "the second level")
	flag.StringVar(&c.database, "database", "products.db", "the SQLite file; it is made if it is not there")
	flag.IntVar(&c.products, "products", 10_000, "how many products a new database gets")
	flag.DurationVar(&c.period, "period", time.Minute, "how old a product may be when it is refreshed")
	flag.Float64Var(&c.shield, "shield", 100, "database queries a second while memcached is down")
	flag.Parse()

	s, err := newService(ctx, c)
	if err != nil {
		return err
	}
	defer s.close()
	var listen net.ListenConfig
	listener, err := listen.Listen(ctx, "tcp", *address)
	if err != nil {
		return err
	}
	log.Printf("serving http://%s/products/1 and http://%s/metrics", listener.Addr(), listener.Addr())
	return serve(ctx, listener, s)
}

// serve answers requests until ctx ends.
func serve(ctx context.Context, listener net.Listener, s *service) error {
	server := &http.Server{Handler: s.handler(), ReadHeaderTimeout: 5 * time.Second}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	short, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	err := server.Shutdown(short)
	if end := <-ended; !errors.Is(end, http.ErrServerClosed) {
		return end
	}
	return err
}
