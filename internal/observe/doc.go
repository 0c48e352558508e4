// Package observe has what the metrics, logs and events of all packages share: the histogram, the
// table that declares metrics and the sender that answers a scrape, label values, the names of
// clients, the queue before a user's callback, and the attributes of log lines.
package observe
