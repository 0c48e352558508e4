package memcachedservers

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/holdfast-go/holdfast/internal/endpoints"
	"github.com/holdfast-go/holdfast/internal/observe"
)

// Cluster names the nodes of a cluster that lists itself, as those of Amazon ElastiCache and Google
// Memorystore do
// (https://docs.aws.amazon.com/AmazonElastiCache/latest/dg/AutoDiscovery.AddingToYourClientLibrary.html):
// it asks its endpoint and the nodes in turn, and takes the list with the highest version. Nodes
// are named by their host names, ordered.
type Cluster struct {
	// Endpoint is the cluster's configuration or discovery endpoint, or one of its nodes,
	// "host:port".
	Endpoint string
	// TLS encrypts the connections. An empty ServerName stands for the host. Default nil: plain.
	TLS *tls.Config
	// DialContext opens connections and must honour its context. Default: a net.Dialer.
	DialContext func(ctx context.Context, network, address string) (net.Conn, error)

	mu    sync.Mutex
	turn  int     // guarded by mu
	known history // guarded by mu
}

const (
	// nodeTime bounds one question.
	nodeTime = 2 * time.Second
	// maxNodes bounds the nodes of an answer; maxConfig bounds it in bytes, so that they may all
	// have the longest names: 253 bytes, and 55 for an address and a port.
	maxNodes  = 1000
	maxConfig = 320 << 10
)

// List asks one node, and another one if that fails. It is safe for concurrent use.
func (c *Cluster) List(ctx context.Context) ([]string, error) {
	if c.Endpoint == "" {
		return nil, errors.New("memcachedservers: Cluster.Endpoint is empty: set the cluster's configuration endpoint")
	}
	var failed []error
	for range 2 {
		at, others := c.next()
		answer, err := c.ask(ctx, at)
		if err == nil {
			return c.judge(answer)
		}
		failed = append(failed, fmt.Errorf("memcachedservers: ask %s for its cluster: %w", at, err))
		if ctx.Err() != nil || !others {
			break
		}
	}
	return nil, errors.Join(failed...)
}

// next picks the node to ask, and tells whether there are others: the endpoint and the nodes in
// turn.
func (c *Cluster) next() (at string, others bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	nodes := c.known.list
	i := c.turn % (len(nodes) + 1)
	c.turn = i + 1
	if i == 0 {
		return c.Endpoint, len(nodes) > 0
	}
	return nodes[i-1], true
}

func (c *Cluster) judge(answer config) ([]string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.known.judge(answer, time.Now())
}

func (c *Cluster) ask(ctx context.Context, address string) (config, error) {
	ctx, cancel := context.WithTimeout(ctx, nodeTime)
	defer cancel()
	conn, err := c.dial(ctx, address)
	if err != nil {
		return config{}, err
	}
	defer func() { _ = conn.Close() }()
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })()
	left := &io.LimitedReader{R: conn, N: maxConfig}
	in := bufio.NewReader(left)
	for _, command := range []string{"config get cluster\r\n", "get AmazonElastiCache:cluster\r\n"} { // since 1.4.14, and before
		if _, err := io.WriteString(conn, command); err != nil {
			return config{}, err
		}
		answer, err := readConfig(in)
		switch {
		case err != nil && left.N == 0:
			return config{}, fmt.Errorf("%w: more than %d bytes", errMalformed, maxConfig)
		case !errors.Is(err, errUnknownCommand):
			return answer, err
		}
	}
	return config{}, errUnknownCommand
}

// dial calls functions of the user's, whose panic is an error, and so is the end of their
// goroutine: lists are asked for on goroutines of ours.
func (c *Cluster) dial(ctx context.Context, address string) (net.Conn, error) {
	dial := c.DialContext
	if dial == nil {
		dial = new(net.Dialer).DialContext
	}
	conn, err := observe.Sound("memcachedservers: Cluster.DialContext", func() (net.Conn, error) { return dial(ctx, "tcp", address) })
	switch {
	case err == nil && conn == nil:
		return nil, errors.New("memcachedservers: Cluster.DialContext returned neither a connection nor an error")
	case err != nil || c.TLS == nil:
		return conn, err
	}
	o := c.TLS.Clone()
	if o.ServerName == "" {
		o.ServerName, _, _ = net.SplitHostPort(address)
	}
	secured := tls.Client(conn, o)
	_, err = observe.Sound("a function of Cluster.TLS", func() (net.Conn, error) { return secured, secured.HandshakeContext(ctx) })
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	return secured, nil
}

// config is a node's description of its cluster.
type config struct {
	version uint64
	servers []string
}

var (
	errUnknownCommand = errors.New("memcachedservers: the server does not know its cluster: is it one of a cluster that lists its nodes?")
	errMalformed      = errors.New("memcachedservers: malformed list of nodes")
)

// readConfig reads "CONFIG cluster 0 <length>" or "VALUE AmazonElastiCache:cluster 0 <length>", the
// version, the nodes, and END. The length is not believed, as some servers count it wrongly; the
// lines may end in LF or CRLF.
func readConfig(in *bufio.Reader) (config, error) {
	header, err := readLine(in)
	switch {
	case err != nil:
		return config{}, err
	case header == "ERROR", header == "END": // END: no value under that key
		return config{}, errUnknownCommand
	case !strings.HasPrefix(header, "CONFIG cluster ") && !strings.HasPrefix(header, "VALUE AmazonElastiCache:cluster "):
		return config{}, fmt.Errorf("%w: the answer is %.100q", errMalformed, header)
	}
	var lines []string
	for {
		line, err := readLine(in)
		if err != nil {
			return config{}, fmt.Errorf("%w: %w", errMalformed, err)
		}
		if line == "END" {
			break
		}
		if line != "" {
			lines = append(lines, line)
		}
	}
	if len(lines) != 2 {
		return config{}, fmt.Errorf("%w: %d lines, want a version and the nodes", errMalformed, len(lines))
	}
	return parseConfig(lines[0], lines[1])
}

func readLine(in *bufio.Reader) (string, error) {
	line, err := in.ReadString('\n')
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return strings.TrimRight(line, "\r\n"), err
}

func parseConfig(version, nodes string) (c config, err error) {
	if c.version, err = strconv.ParseUint(version, 10, 64); err != nil {
		return c, fmt.Errorf("%w: version %.100q", errMalformed, version)
	}
	fields := strings.Fields(nodes)
	if len(fields) > maxNodes {
		return c, fmt.Errorf("%w: %d nodes", errMalformed, len(fields))
	}
	for _, node := range fields {
		server, err := parseNode(node)
		if err != nil {
			return c, err
		}
		c.servers = append(c.servers, server)
	}
	slices.Sort(c.servers)
	c.servers = slices.Compact(c.servers)
	return c, nil
}

// parseNode reads "host|ip|port". The host keeps its name when its address changes; one without a
// name is known by its address.
func parseNode(node string) (string, error) {
	parts := strings.Split(node, "|")
	if len(parts) != 3 {
		return "", fmt.Errorf("%w: node %.100q", errMalformed, node)
	}
	host := parts[0]
	if host == "" {
		host = parts[1]
	}
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	server := net.JoinHostPort(strings.TrimSuffix(host, "."), parts[2])
	if !endpoints.Usable(server) {
		return "", fmt.Errorf("%w: node %.100q is no host and port", errMalformed, node)
	}
	return server, nil
}

// staleTime is how long lower versions are taken for those of nodes that lag behind, and not of a
// cluster that was built anew.
const staleTime = time.Minute

// history is the list of the highest version seen.
type history struct {
	version uint64
	list    []string
	lower   time.Time // since when all versions are lower; zero: they are not
}

// judge returns the list that counts after one more answer.
func (h *history) judge(answer config, now time.Time) ([]string, error) {
	switch {
	case len(answer.servers) == 0:
		return nil, fmt.Errorf("%w: no node", errMalformed)
	case h.list == nil || answer.version > h.version:
	case answer.version == h.version:
		if !slices.Equal(answer.servers, h.list) {
			return nil, fmt.Errorf("memcachedservers: two lists of nodes with version %d", h.version)
		}
	case h.lower.IsZero():
		h.lower = now
		return slices.Clone(h.list), nil
	case now.Sub(h.lower) < staleTime:
		return slices.Clone(h.list), nil
	}
	h.version, h.list, h.lower = answer.version, answer.servers, time.Time{}
	return slices.Clone(h.list), nil
}
