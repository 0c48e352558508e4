package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/holdfast-go/holdfast/internal/testutil/redis"
)

// cluster is the servers and sentinels of a stage.
type cluster struct{ *redis.Cluster }

// launchUsual starts a primary, two replicas and three sentinels with the timings of an
// installation.
func launchUsual(ctx context.Context) (cluster, error) { return launch(ctx, redis.ClusterOptions{}) }

// launchLone starts one server with one sentinel.
func launchLone(ctx context.Context) (cluster, error) {
	return launch(ctx, redis.ClusterOptions{Replicas: -1, Sentinels: 1})
}

// launchFast starts what fails over fastest: one replica, one sentinel.
func launchFast(ctx context.Context) (cluster, error) {
	return launch(ctx, redis.ClusterOptions{Replicas: 1, Sentinels: 1, Fast: true})
}

func launch(ctx context.Context, o redis.ClusterOptions) (cluster, error) {
	o.Names = []string{master}
	c, err := redis.LaunchCluster(ctx, o)
	return cluster{c}, err
}

func (c cluster) close() { _ = c.Close() }

func (c cluster) servers() []*redis.Server { return c.Servers(master) }

func (c cluster) serverAddrs() []string { return collect(c.servers(), (*redis.Server).Addr) }

func (c cluster) primary(ctx context.Context) (*redis.Server, error) { return c.Primary(ctx, master) }

// server returns the server at the address.
func (c cluster) server(addr string) (*redis.Server, error) {
	i := slices.Index(c.serverAddrs(), addr)
	if i < 0 {
		return nil, fmt.Errorf("no server at %s", addr)
	}
	return c.servers()[i], nil
}

// failover has the nth of the sentinels that are fit start it.
func (c cluster) failover(ctx context.Context, n int) error {
	fit := slices.DeleteFunc(c.Sentinels(), func(s *redis.Sentinel) bool { return !s.Running() })
	if len(fit) == 0 {
		return errors.New("no sentinel runs")
	}
	var err error
	await(ctx, settleLimit, func() bool {
		_, err = fit[n%len(fit)].Do(ctx, "SENTINEL", "FAILOVER", master)
		return !notYet(err)
	})
	return err
}

// notYet reports whether a sentinel refused a failover that it will agree to later.
func notYet(err error) bool {
	var refusal redis.ReplyError
	return errors.As(err, &refusal) && slices.Contains([]string{"NOGOODSLAVE", "INPROG"}, refusal.Code())
}

// settle waits until the sentinels agree on the primary and all other servers are its replicas, and
// makes them ask more often for that.
func (c cluster) settle(ctx context.Context, primary string) error {
	for _, s := range c.Sentinels() {
		if _, err := s.Do(ctx, "SENTINEL", "DEBUG", "info-period", "100", "publish-period", "500"); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, settleLimit)
	defer cancel()
	if err := c.AwaitSettled(ctx); err != nil {
		return err
	}
	settled, err := c.primary(ctx)
	if err != nil {
		return err
	}
	if settled.Addr() != primary {
		return fmt.Errorf("%w: the primary is %s, not %s as it was before", errAnotherFailover, settled.Addr(), primary)
	}
	return nil
}

// follow makes a server a replica of another at once; a sentinel would take some seconds.
func (c cluster) follow(ctx context.Context, replica *redis.Server, primary string) error {
	host, port, err := net.SplitHostPort(primary)
	if err != nil {
		return err
	}
	_, err = replica.Do(ctx, "REPLICAOF", host, port)
	return err
}

// keptKeys returns the numbers of the keys with the prefix that the server has.
func keptKeys(ctx context.Context, s *redis.Server, prefix string) (map[int]bool, error) {
	reply, err := s.Do(ctx, "KEYS", prefix+":*")
	if err != nil {
		return nil, err
	}
	kept := make(map[int]bool)
	for _, key := range texts(reply) {
		n, err := strconv.Atoi(strings.TrimPrefix(key, prefix+":"))
		if err != nil {
			return nil, fmt.Errorf("key %q is none of ours", key)
		}
		kept[n] = true
	}
	return kept, nil
}

// cpuOf is the CPU time that the server has used.
func cpuOf(ctx context.Context, s *redis.Server) (time.Duration, error) {
	reply, err := s.Do(ctx, "INFO", "cpu")
	if err != nil {
		return 0, err
	}
	text, _ := reply.(string)
	total := time.Duration(0)
	for line := range strings.SplitSeq(text, "\r\n") {
		name, value, _ := strings.Cut(line, ":")
		if name != "used_cpu_user" && name != "used_cpu_sys" {
			continue
		}
		seconds, err := strconv.ParseFloat(value, 64)
		if err != nil {
			return 0, err
		}
		total += time.Duration(seconds * float64(time.Second))
	}
	return total, nil
}

// texts returns those items of an array that are strings.
func texts(reply any) []string {
	items, _ := reply.([]any)
	var all []string
	for _, item := range items {
		if text, ok := item.(string); ok {
			all = append(all, text)
		}
	}
	return all
}

// serverVersion returns the name and version of the servers.
func serverVersion(ctx context.Context) (string, error) {
	s, err := redis.LaunchServer(ctx, redis.ServerOptions{})
	if err != nil {
		return "", err
	}
	return s.Kind(), s.Close()
}
