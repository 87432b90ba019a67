package s3api

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/cofferfs/coffer/objstore"
	"github.com/cofferfs/coffer/objstore/s3api/sigv4"
)

// Notifications of a bucket. There are no queues, topics and functions that
// coffer could reach, so each is refused as AWS refuses one that does not exist.
// A client that asks for no look at them has its configuration kept, as AWS
// keeps it; nothing is ever sent.

// destination is a kind of places that notifications go to.
type destination struct {
	element string // of its configuration
	target  string // element with its ARN
	service string // in the ARN
	absent  func(arn string) (name, value string)
}

var destinations = []destination{
	{"TopicConfiguration", "Topic", "sns", func(arn string) (string, string) { return arn, "The destination topic does not exist" }},
	{"QueueConfiguration", "Queue", "sqs", func(arn string) (string, string) { return arn, "The destination queue does not exist" }},
	{"CloudFunctionConfiguration", "CloudFunction", "lambda", func(arn string) (string, string) {
		return arn + ", null", "Not authorized to invoke function [" + arn + "]"
	}},
}

var notificationShape = within("NotificationConfiguration", 1, 1, append([]shape{within("EventBridgeConfiguration", 0, 1)}, destinationShapes()...)...)

func destinationShapes() (list []shape) {
	for _, d := range destinations {
		list = append(list, within(d.element, 0, 100, optional("Id", anyText), one(d.target, someText), shape{"Event", 1, many, someText, nil},
			within("Filter", 0, 1, within("S3Key", 0, 1, within("FilterRule", 0, 10, one("Name", someText), one("Value", anyText))))))
	}
	return list
}

// events are those of S3 (AWS: "Supported event types for SQS, SNS, and Lambda").
var events = []string{
	"s3:TestEvent", "s3:ReducedRedundancyLostObject",
	"s3:ObjectCreated:*", "s3:ObjectCreated:Put", "s3:ObjectCreated:Post", "s3:ObjectCreated:Copy", "s3:ObjectCreated:CompleteMultipartUpload",
	"s3:ObjectRemoved:*", "s3:ObjectRemoved:Delete", "s3:ObjectRemoved:DeleteMarkerCreated",
	"s3:ObjectRestore:*", "s3:ObjectRestore:Post", "s3:ObjectRestore:Completed", "s3:ObjectRestore:Delete",
	"s3:Replication:*", "s3:Replication:OperationFailedReplication", "s3:Replication:OperationMissedThreshold",
	"s3:Replication:OperationReplicatedAfterThreshold", "s3:Replication:OperationNotTracked",
	"s3:LifecycleExpiration:*", "s3:LifecycleExpiration:Delete", "s3:LifecycleExpiration:DeleteMarkerCreated", "s3:LifecycleTransition",
	"s3:IntelligentTiering", "s3:ObjectTagging:*", "s3:ObjectTagging:Put", "s3:ObjectTagging:Delete", "s3:ObjectAcl:Put",
}

func checkNotification(q *request, n *node) error {
	if n.find("EventBridgeConfiguration") != nil {
		return errNotBuilt("Sending events to EventBridge")
	}
	for _, d := range destinations {
		for _, c := range n.all(d.element) {
			if err := d.check(c); err != nil {
				return err
			}
		}
	}
	if strings.EqualFold(q.get("X-Amz-Skip-Destination-Validation"), "true") {
		return nil
	}
	var fields []sigv4.Field
	for _, d := range destinations {
		for _, c := range n.all(d.element) {
			name, value := d.absent(strings.TrimSpace(c.value(d.target)))
			i := len(fields)/2 + 1
			fields = append(fields, field(fmt.Sprint("ArgumentName", i), name), field(fmt.Sprint("ArgumentValue", i), value))
		}
	}
	if len(fields) == 0 {
		return nil
	}
	return newError(http.StatusBadRequest, "InvalidArgument", "Unable to validate the following destination configurations", fields...)
}

// check refuses a malformed configuration, and completes one that is not.
func (d *destination) check(c *node) error {
	arn := strings.TrimSpace(c.value(d.target))
	if parts := strings.Split(arn, ":"); len(parts) < 6 || parts[0] != "arn" || parts[2] != d.service {
		return errInvalidArgument("The ARN could not be parsed", d.target, arn)
	}
	for _, e := range c.all("Event") {
		if !slices.Contains(events, strings.TrimSpace(e.text)) {
			return errInvalidArgument("A specified event is not supported for notifications", "Event", e.text)
		}
	}
	seen := map[string]bool{}
	for _, rule := range c.find("Filter", "S3Key").all("FilterRule") {
		name := rule.find("Name")
		switch strings.ToLower(name.text) {
		case "prefix":
			name.text = "Prefix"
		case "suffix":
			name.text = "Suffix"
		default:
			return errInvalidArgument("filter rule name must be either prefix or suffix", "FilterRule.Name", name.text)
		}
		if seen[name.text] {
			lower := strings.ToLower(name.text)
			return errInvalidArgument("Cannot specify more than one "+lower+" rule in a filter.", "FilterRule", lower)
		}
		seen[name.text] = true
	}
	if c.value("Id") == "" {
		var id [24]byte
		rand.Read(id[:])
		c.kids = slices.DeleteFunc(c.kids, func(k *node) bool { return k.name == "Id" })
		c.kids = append([]*node{{name: "Id", text: hex.EncodeToString(id[:])}}, c.kids...)
	}
	return nil
}

var putNotification = putShape(objstore.ConfigNotification, notificationShape, checkNotification)
