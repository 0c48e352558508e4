package redis

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
)

// AwaitSettled waits until every name has one primary, all running servers besides it are its
// replicas and in sync, and all running sentinels agree on that and know each other. It takes a
// minute at most. Without Fast it takes some 20 s after a failover, because sentinels look only
// every 10 s.
func (c *Cluster) AwaitSettled(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, settleTimeout)
	defer cancel()
	return c.await(ctx, func(ctx context.Context, name string) string {
		roles := c.roles(ctx, name)
		if problem := c.rolesProblem(name, roles); problem != "" {
			return problem
		}
		return c.sentinelProblem(ctx, name, roles)
	})
}

// await waits until find finds no problem with any name.
func (c *Cluster) await(ctx context.Context, find func(ctx context.Context, name string) string) error {
	for _, name := range c.options.Names {
		for {
			problem := find(ctx, name)
			if problem == "" {
				break
			}
			if pause(ctx, settleInterval) != nil {
				return fmt.Errorf("redis: %q has not settled: %s: %w", name, problem, ctx.Err())
			}
		}
	}
	return nil
}

// replicationProblem says which replication the servers of a name still miss, "" if none.
func (c *Cluster) replicationProblem(ctx context.Context, name string) string {
	return c.rolesProblem(name, c.roles(ctx, name))
}

func (c *Cluster) rolesProblem(name string, roles map[*Server]Role) string {
	found := primaries(roles)
	if len(found) != 1 {
		return fmt.Sprintf("%d primaries", len(found))
	}
	for _, s := range c.servers[name] {
		role, ok := roles[s]
		switch {
		case !ok && s.Running():
			return "no answer from " + s.Addr()
		case ok && !role.Primary && (role.Of != found[0].Addr() || !role.LinkUp):
			return fmt.Sprintf("%s is a replica of %s, connected: %v", s.Addr(), role.Of, role.LinkUp)
		case ok && !role.Primary && !slices.Contains(roles[found[0]].Replicas, s.Addr()):
			return fmt.Sprintf("%s does not list its replica %s", found[0].Addr(), s.Addr())
		}
	}
	return ""
}

// sentinelProblem says which knowledge the sentinels still miss, "" if none. The roles are those of
// servers that have no problem.
func (c *Cluster) sentinelProblem(ctx context.Context, name string, roles map[*Server]Role) string {
	primary := primaries(roles)[0]
	replicas := slices.DeleteFunc(c.Servers(name), func(s *Server) bool {
		_, ok := roles[s]
		return !ok || s == primary
	})
	views := c.views(ctx, name)
	epoch := -1
	for _, s := range c.sentinels {
		if !s.Running() {
			continue
		}
		view, ok := views[s]
		if !ok {
			return "no answer from sentinel " + s.Addr()
		}
		if problem := c.viewProblem(view, primary, replicas); problem != "" {
			return fmt.Sprintf("sentinel %s: %s", s.Addr(), problem)
		}
		if epoch >= 0 && epoch != view.Epoch {
			return fmt.Sprintf("sentinel %s is at epoch %d, another one at %d", s.Addr(), view.Epoch, epoch)
		}
		epoch = view.Epoch
	}
	return ""
}

func (c *Cluster) viewProblem(view View, primary *Server, replicas []*Server) string {
	if view.Primary != primary.Addr() || view.Master["flags"] != "master" {
		return fmt.Sprintf("primary %s (%s), want %s", view.Primary, view.Master["flags"], primary.Addr())
	}
	healthy := make(map[string]bool)
	for _, r := range view.Replicas {
		of := net.JoinHostPort(r["master-host"], r["master-port"])
		healthy[r["name"]] = r["flags"] == "slave" && r["master-link-status"] == "ok" && of == primary.Addr()
	}
	for _, s := range replicas {
		if !healthy[s.Addr()] {
			return "replica " + s.Addr() + " is not listed as healthy"
		}
	}
	return c.strangersProblem(view)
}

// strangersProblem says which running sentinels are not known to the one whose view it is, "" if it
// knows them all.
func (c *Cluster) strangersProblem(view View) string {
	known := make(map[string]bool)
	for _, other := range view.Sentinels {
		known[net.JoinHostPort(other["ip"], other["port"])] = other["flags"] == "sentinel"
	}
	var strangers []string
	for _, s := range c.sentinels {
		if s.Running() && !known[s.Addr()] {
			strangers = append(strangers, s.Addr())
		}
	}
	if len(strangers) > 1 { // one is the sentinel itself
		return "sentinels it does not know: " + strings.Join(strangers, " ")
	}
	return ""
}
