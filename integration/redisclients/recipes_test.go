package redisclients_test

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	redigo "github.com/gomodule/redigo/redis"
	"github.com/mediocregopher/radix/v4"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"
	"github.com/redis/rueidis"

	"github.com/holdfast-go/holdfast/sentinel"
	"github.com/holdfast-go/holdfast/sentinel/goredis"
)

// What docs/other-clients.md shows is in the functions of this file, line by line.

func follow(ctx context.Context) error {
	c, err := sentinel.New(ctx, []string{"sentinel-1:26379", "sentinel-2:26379", "sentinel-3:26379"}, sentinel.Options{Names: []string{"mymaster"}})
	if err != nil {
		return err
	}
	defer c.Close()
	prometheus.MustRegister(c)
	return nil
}

var _ = follow // its addresses are the reader's

func openGoRedis(c *sentinel.Client) (*redis.Client, error) {
	rdb, err := goredis.New(c, "mymaster", &redis.Options{PoolTimeout: 10 * time.Second})
	if err != nil {
		return nil, err // sentinel.ErrBadOptions or sentinel.ErrUnknownPrimary
	}
	return rdb, nil
}

func openRedigo(c *sentinel.Client) *redigo.Pool {
	dialer := c.Dialer("mymaster")
	return &redigo.Pool{
		MaxIdle: 16,
		DialContext: func(ctx context.Context) (redigo.Conn, error) {
			return redigo.DialContext(ctx, "tcp", "", redigo.DialContextFunc(dialer.DialContext))
		},
		TestOnBorrow: func(_ redigo.Conn, lastUsed time.Time) error {
			if lastUsed.Before(c.Topology("mymaster").Since) {
				return errors.New("the primary is another since")
			}
			return nil
		},
	}
}

func openRueidis(c *sentinel.Client) (rueidis.Client, error) {
	dialer := c.Dialer("mymaster")
	return rueidis.NewClient(rueidis.ClientOption{
		InitAddress: []string{"mymaster:6379"}, ForceSingleClient: true,
		DialCtxFn: func(ctx context.Context, addr string, _ *net.Dialer, _ *tls.Config) (net.Conn, error) {
			return dialer.DialContext(ctx, "tcp", addr)
		},
	})
}

func openRadix(ctx context.Context, sentinels []string, use func(radix.MultiClient)) error {
	// before: client, err := (radix.SentinelConfig{}).New(ctx, "mymaster", sentinels)
	c, err := sentinel.New(ctx, sentinels, sentinel.Options{Names: []string{"mymaster"}})
	if err != nil {
		return err
	}
	client := c.Primary("mymaster")
	use(client)
	c.Close()
	return nil
}

var _ = openRadix // its lines are in the document

func TestTheDocumentShowsWhatIsCompiled(t *testing.T) {
	document, err := os.ReadFile("../../docs/other-clients.md")
	if err != nil {
		t.Fatal(err)
	}
	source, err := os.ReadFile("recipes_test.go")
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?s)```go\n(.*?)```").FindAllStringSubmatch(string(document), -1)
	if len(blocks) < 5 {
		t.Errorf("%d blocks of Go were found, want 5 at least", len(blocks))
	}
	for _, block := range blocks {
		indented := strings.ReplaceAll("\t"+strings.TrimSuffix(block[1], "\n"), "\n", "\n\t")
		if !strings.Contains(string(source), "\n"+indented+"\n") {
			t.Errorf("no function of recipes_test.go has this:\n%s", block[1])
		}
	}
}
