package s3api

import (
	"fmt"
	"strings"
	"testing"
)

// kept checks that a GET answers with the document that was put, and with
// nothing else.
func (d *door) kept(target, root, inner string) {
	d.t.Helper()
	want := "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<" + root + ` xmlns="` + namespace + `">` + inner + "</" + root + ">"
	if a := d.do("GET", target, ""); a.status != 200 || a.body != want {
		d.t.Errorf("%s: %v, want %s", target, a, want)
	}
}

func TestSmallSubresources(t *testing.T) {
	d := openDoor(t)
	d.bucket("bucket")
	d.bucket("target")
	d.bucket("dotted.name")
	put := func(sub, root, inner string) reply {
		return d.do("PUT", "/bucket?"+sub, "<"+root+` xmlns="`+namespace+`">`+inner+"</"+root+">")
	}
	const payment, accelerate, logging = "RequestPaymentConfiguration", "AccelerateConfiguration", "BucketLoggingStatus"

	d.kept("/bucket?requestPayment", payment, "<Payer>BucketOwner</Payer>")
	put("requestPayment", payment, "<Payer>Requester</Payer>").ok(t, "payer", 200)
	d.kept("/bucket?requestPayment", payment, "<Payer>Requester</Payer>")
	put("requestPayment", payment, "<Payer>Random</Payer>").want(t, "payer", 400, "MalformedXML", malformed)
	put("requestPayment", payment, "").want(t, "payer", 400, "MalformedXML", malformed)
	d.do("PUT", "/nowhere?requestPayment", "<RequestPaymentConfiguration><Payer>Requester</Payer></RequestPaymentConfiguration>").want(t, "payer", 404, "NoSuchBucket", "", "BucketName", "nowhere")
	put("requestPayment", payment, "<Payer>BucketOwner</Payer>").ok(t, "payer", 200)

	d.kept("/bucket?accelerate", accelerate, "")
	for _, s := range []string{"Enabled", "Suspended"} {
		put("accelerate", accelerate, "<Status>"+s+"</Status>").ok(t, s, 200)
		d.kept("/bucket?accelerate", accelerate, "<Status>"+s+"</Status>")
	}
	for _, s := range []string{"enabled", "random"} {
		put("accelerate", accelerate, "<Status>"+s+"</Status>").want(t, s, 400, "MalformedXML", malformed)
	}
	for _, s := range []string{"Enabled", "random"} {
		d.do("PUT", "/dotted.name?accelerate", "<AccelerateConfiguration><Status>"+s+"</Status></AccelerateConfiguration>").
			want(t, "dots", 400, "InvalidRequest", "S3 Transfer Acceleration is not supported for buckets with periods (.) in their names")
	}

	d.kept("/bucket?logging", logging, "")
	const enabled = "<LoggingEnabled><TargetBucket>target</TargetBucket><TargetPrefix>log</TargetPrefix></LoggingEnabled>"
	put("logging", logging, enabled).ok(t, "logging", 200)
	d.kept("/bucket?logging", logging, enabled)
	put("logging", logging, strings.Replace(enabled, "target<", "nowhere<", 1)).
		want(t, "logging", 400, "InvalidTargetBucketForLogging", "The target bucket for logging does not exist", "TargetBucket", "nowhere")
	put("logging", logging, "<LoggingEnabled><TargetBucket>target</TargetBucket></LoggingEnabled>").want(t, "logging", 400, "MalformedXML", malformed)
	d.kept("/bucket?logging", logging, enabled)
	grant := `<TargetGrants><Grant><Grantee xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:type="Group"><URI>http://acs.amazonaws.com/groups/s3/LogDelivery</URI></Grantee><Permission>READ_ACP</Permission></Grant></TargetGrants>`
	granted := strings.Replace(enabled, "</LoggingEnabled>", grant+"</LoggingEnabled>", 1)
	put("logging", logging, granted).ok(t, "logging", 200)
	d.kept("/bucket?logging", logging, granted)
	put("logging", logging, "").ok(t, "logging", 200)
	d.kept("/bucket?logging", logging, "")
}

func TestWebsiteConfiguration(t *testing.T) {
	d := openDoor(t)
	d.bucket("bucket")
	put := func(inner string) reply {
		return d.do("PUT", "/bucket?website", "<WebsiteConfiguration>"+inner+"</WebsiteConfiguration>")
	}
	const index = "<IndexDocument><Suffix>index.html</Suffix></IndexDocument>"
	rules := func(rule string) string {
		return index + "<RoutingRules><RoutingRule>" + rule + "</RoutingRule></RoutingRules>"
	}
	const badSuffix = "The IndexDocument Suffix is not well formed"
	put("<IndexDocument><Suffix>/index.html</Suffix></IndexDocument>").want(t, "slash", 400, "InvalidArgument", badSuffix, "ArgumentName", "IndexDocument", "ArgumentValue", "/index.html")
	put("<IndexDocument><Suffix></Suffix></IndexDocument>").want(t, "empty", 400, "InvalidArgument", badSuffix, "ArgumentName", "IndexDocument", "ArgumentValue", "")
	put("<RedirectAllRequestsTo><HostName>test</HostName></RedirectAllRequestsTo>"+index).want(t, "both", 400, "InvalidArgument",
		"RedirectAllRequestsTo cannot be provided in conjunction with other Routing Rules.", "ArgumentName", "RedirectAllRequestsTo", "ArgumentValue", "not null")
	put("<ErrorDocument><Key>/index.html</Key></ErrorDocument>").want(t, "no index", 400, "InvalidArgument",
		"A value for IndexDocument Suffix must be provided if RedirectAllRequestsTo is empty", "ArgumentName", "IndexDocument", "ArgumentValue", "null")
	const protocol = "Invalid protocol, protocol can be http or https. If not defined the protocol will be selected automatically."
	put(rules("<Redirect><Protocol>protocol</Protocol></Redirect>")).want(t, "protocol", 400, "InvalidRequest", protocol)
	put("<RedirectAllRequestsTo><HostName>test</HostName><Protocol>ftp</Protocol></RedirectAllRequestsTo>").want(t, "protocol", 400, "InvalidRequest", protocol)
	put(rules("<Redirect><ReplaceKeyPrefixWith>a</ReplaceKeyPrefixWith><ReplaceKeyWith>b</ReplaceKeyWith></Redirect>")).
		want(t, "replace", 400, "InvalidRequest", "You can only define ReplaceKeyPrefix or ReplaceKey but not both.")
	put(rules("<Redirect><ReplaceKeyPrefixWith>a</ReplaceKeyPrefixWith></Redirect><Condition></Condition>")).
		want(t, "condition", 400, "InvalidRequest", "Condition cannot be empty. To redirect all requests without a condition, the condition element shouldn't be present.")
	put(rules("<Redirect><HttpRedirectCode>300</HttpRedirectCode></Redirect>")).want(t, "code", 400, "InvalidRequest", "")
	put(rules("<Condition><HttpErrorCodeReturnedEquals>200</HttpErrorCodeReturnedEquals></Condition><Redirect><HostName>h</HostName></Redirect>")).want(t, "code", 400, "InvalidRequest", "")
	put(index+"<RoutingRules></RoutingRules>").want(t, "no rules", 400, "MalformedXML", malformed)
	put(index+index).want(t, "twice", 400, "MalformedXML", malformed)

	d.do("GET", "/bucket?website", "").want(t, "none", 404, "NoSuchWebsiteConfiguration", "The specified bucket does not have a website configuration", "BucketName", "bucket")
	d.do("DELETE", "/bucket?website", "").ok(t, "delete", 204)
	full := rules("<Condition><KeyPrefixEquals>a&amp;b</KeyPrefixEquals></Condition><Redirect><Protocol>https</Protocol><HttpRedirectCode>302</HttpRedirectCode><ReplaceKeyWith>x</ReplaceKeyWith></Redirect>")
	for _, doc := range []string{index, full, "<RedirectAllRequestsTo><HostName>test</HostName></RedirectAllRequestsTo>"} {
		put(doc).ok(t, "put", 200)
		d.kept("/bucket?website", "WebsiteConfiguration", doc)
	}
	d.do("DELETE", "/bucket?website", "").ok(t, "delete", 204)
	d.do("GET", "/bucket?website", "").want(t, "none", 404, "NoSuchWebsiteConfiguration", "")
}

func TestReplicationIsNotPromised(t *testing.T) {
	d := openDoor(t)
	d.bucket("bucket")
	rule := "<Rule><ID>id</ID><Priority>1</Priority><Status>Enabled</Status><Filter><Prefix>Tax</Prefix></Filter><DeleteMarkerReplication><Status>Disabled</Status></DeleteMarkerReplication><Destination><Bucket>arn:aws:s3:::dest</Bucket></Destination></Rule>"
	d.do("PUT", "/bucket?replication", "<ReplicationConfiguration><Role>role</Role></ReplicationConfiguration>").want(t, "no rules", 400, "MalformedXML", malformed)
	put := func() reply {
		return d.do("PUT", "/bucket?replication", "<ReplicationConfiguration><Role>role</Role>"+rule+"</ReplicationConfiguration>")
	}
	const destination = "Destination bucket must have versioning enabled."
	enable := func(bucket string) {
		d.do("PUT", "/"+bucket+"?versioning", "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>").ok(t, "versioning", 200)
	}
	put().want(t, "no versions", 400, "InvalidRequest", "Versioning must be 'Enabled' on the bucket to apply a replication configuration")
	enable("bucket")
	put().want(t, "no destination", 400, "InvalidRequest", destination)
	d.bucket("dest")
	put().want(t, "no versions there", 400, "InvalidRequest", destination)
	enable("dest")
	put().want(t, "all that AWS asks for", 501, "NotImplemented", "")
	if log := d.log.String(); !strings.Contains(log, "status=501") || strings.Contains(log, "level=ERROR") {
		t.Errorf("what a client asks for in vain is no fault of the server: %s", log)
	}
	d.do("GET", "/bucket?replication", "").want(t, "none", 404, "ReplicationConfigurationNotFoundError", "The replication configuration was not found", "BucketName", "bucket")
	d.do("DELETE", "/bucket?replication", "").ok(t, "delete", 204)
}

// Each family: the document of an id and prefix, and what AWS says of one with another id.
func families() map[string]struct {
	root, list, code string
	doc              func(id, prefix string) string
} {
	type family = struct {
		root, list, code string
		doc              func(id, prefix string) string
	}
	filter := func(prefix string) string { return "<Filter><Prefix>" + prefix + "</Prefix></Filter>" }
	return map[string]family{
		"metrics": {"MetricsConfiguration", "ListMetricsConfigurationsResult", "MalformedXML", func(id, prefix string) string {
			return "<Id>" + id + "</Id>" + filter(prefix)
		}},
		"analytics": {"AnalyticsConfiguration", "ListBucketAnalyticsConfigurationResult", "MalformedXML", func(id, prefix string) string {
			return "<Id>" + id + "</Id>" + filter(prefix) + "<StorageClassAnalysis><DataExport><OutputSchemaVersion>V_1</OutputSchemaVersion><Destination><S3BucketDestination><Format>CSV</Format><Bucket>arn:aws:s3:::x</Bucket><Prefix>test</Prefix></S3BucketDestination></Destination></DataExport></StorageClassAnalysis>"
		}},
		"intelligent-tiering": {"IntelligentTieringConfiguration", "ListBucketIntelligentTieringConfigurationsOutput", "MalformedXML", func(id, prefix string) string {
			return "<Id>" + id + "</Id>" + filter(prefix) + "<Status>Enabled</Status><Tiering><AccessTier>ARCHIVE_ACCESS</AccessTier><Days>90</Days></Tiering>"
		}},
		"inventory": {"InventoryConfiguration", "ListInventoryConfigurationsResult", "IdMismatch", func(id, prefix string) string {
			return "<Destination><S3BucketDestination><Bucket>arn:aws:s3:::x</Bucket><Format>CSV</Format></S3BucketDestination></Destination><IsEnabled>true</IsEnabled>" + filter(prefix) +
				"<Id>" + id + "</Id><IncludedObjectVersions>All</IncludedObjectVersions><OptionalFields><Field>Size</Field><Field>ETag</Field></OptionalFields><Schedule><Frequency>Daily</Frequency></Schedule>"
		}},
	}
}

func TestConfigurationsWithIds(t *testing.T) {
	for sub, f := range families() {
		t.Run(sub, func(t *testing.T) {
			d := openDoor(t)
			d.bucket("bucket")
			target := func(id string) string { return "/bucket?" + sub + "&id=" + id }
			put := func(id, inner string) reply {
				return d.do("PUT", target(id), "<"+f.root+">"+inner+"</"+f.root+">")
			}
			list := func(ids ...string) {
				t.Helper()
				inner := ""
				for _, id := range ids {
					inner += "<" + f.root + ">" + f.doc(id, "prefix") + "</" + f.root + ">"
				}
				d.kept("/bucket?"+sub, f.list, inner+"<IsTruncated>false</IsTruncated>")
			}
			const none = "The specified configuration does not exist."
			list()
			put("different-id", f.doc("id", "p")).want(t, "other id", 400, f.code, "")
			put("id", "<Id>id</Id><Other/>").want(t, "malformed", 400, "MalformedXML", malformed)
			put("", f.doc("id", "p")).want(t, "no id", 400, "InvalidArgument", "")
			put("a%2Fb", f.doc("a/b", "p")).want(t, "bad id", 400, "InvalidConfigurationId", "")
			put(strings.Repeat("x", 65), f.doc(strings.Repeat("x", 65), "p")).want(t, "long id", 400, "InvalidConfigurationId", "")
			d.do("PUT", "/nowhere?"+sub+"&id=id", "<"+f.root+">"+f.doc("id", "p")+"</"+f.root+">").want(t, "no bucket", 404, "NoSuchBucket", "", "BucketName", "nowhere")
			d.do("DELETE", "/nowhere?"+sub+"&id=id", "").want(t, "no bucket", 404, "NoSuchBucket", "", "BucketName", "nowhere")
			d.do("GET", target("id"), "").want(t, "get none", 404, "NoSuchConfiguration", none)
			d.do("DELETE", target("id"), "").want(t, "delete none", 404, "NoSuchConfiguration", none)
			for _, id := range []string{"z-test", "a-test", "test-1"} {
				a := put(id, f.doc(id, "first"))
				if a.status != 204 || a.body != "" {
					t.Errorf("put: %v", a)
				}
				put(id, f.doc(id, "prefix")).ok(t, "put again", 204)
				d.kept(target(id), f.root, f.doc(id, "prefix"))
			}
			list("a-test", "test-1", "z-test")
			d.do("DELETE", target("z-test"), "").ok(t, "delete", 204)
			d.do("DELETE", target("z-test"), "").want(t, "delete twice", 404, "NoSuchConfiguration", none)
			list("a-test", "test-1")
		})
	}
}

func TestConfigurationsWithIdsInPages(t *testing.T) {
	d := openDoor(t)
	d.bucket("bucket")
	f := families()["metrics"]
	for i := range configsPage + 2 {
		id := fmt.Sprintf("id-%03d", i)
		d.do("PUT", "/bucket?metrics&id="+id, "<"+f.root+">"+f.doc(id, "logs/")+"</"+f.root+">").ok(t, id, 204)
	}
	first := d.do("GET", "/bucket?metrics", "")
	token := element(first.body, "NextContinuationToken")
	if strings.Count(first.body, "<Id>") != configsPage || element(first.body, "IsTruncated") != "true" || token == "" || strings.Contains(first.body, "<ContinuationToken>") {
		t.Errorf("first page: %v", first)
	}
	second := d.do("GET", "/bucket?metrics&continuation-token="+token, "")
	if strings.Count(second.body, "<Id>") != 2 || element(second.body, "IsTruncated") != "false" || element(second.body, "ContinuationToken") != token || strings.Contains(second.body, "<NextContinuationToken>") {
		t.Errorf("second page: %v", second)
	}
	d.do("GET", "/bucket?metrics&continuation-token=x", "").want(t, "token", 400, "InvalidArgument", "")
}

func TestInventoriesThatCannotBe(t *testing.T) {
	d := openDoor(t)
	d.bucket("bucket")
	good := families()["inventory"].doc("id", "p")
	for change, want := range map[[2]string][2]string{
		{"arn:aws:s3:::x", "x"}:     {"InvalidS3DestinationBucket", "Invalid bucket ARN."},
		{">CSV<", ">WRONG<"}:        {"MalformedXML", malformed},
		{">Daily<", ">Hourly<"}:     {"MalformedXML", malformed},
		{">All<", ">Wrong<"}:        {"MalformedXML", malformed},
		{">Size<", ">TestField<"}:   {"MalformedXML", malformed},
		{">true<", ">yes<"}:         {"MalformedXML", malformed},
		{"<Id>id</Id>", ""}:         {"MalformedXML", malformed},
		{"<Id>", "text<Id>"}:        {"MalformedXML", malformed},
		{"<Field>Size</Field>", ""}: {"", ""},
	} {
		a := d.do("PUT", "/bucket?inventory&id=id", "<InventoryConfiguration>"+strings.Replace(good, change[0], change[1], 1)+"</InventoryConfiguration>")
		if want[0] == "" {
			a.ok(t, change[0], 204)
			continue
		}
		a.want(t, change[1], 400, want[0], want[1])
	}
}

func TestNotificationConfiguration(t *testing.T) {
	d := openDoor(t)
	d.bucket("bucket")
	const root = "NotificationConfiguration"
	put := func(inner string, headers ...string) reply {
		return d.do("PUT", "/bucket?notification", "<"+root+">"+inner+"</"+root+">", headers...)
	}
	queue := func(arn, rest string) string {
		return "<QueueConfiguration><Id>id123</Id><Queue>" + arn + "</Queue><Event>s3:ObjectCreated:*</Event>" + rest + "</QueueConfiguration>"
	}
	filter := func(rule string) string {
		return "<Filter><S3Key><FilterRule>" + rule + "</FilterRule></S3Key></Filter>"
	}
	const arn = "arn:aws:sqs:us-east-1:000000000000:my-queue"
	skip := []string{"x-amz-skip-destination-validation", "true"}

	d.kept("/bucket?notification", root, "")
	put("").ok(t, "empty", 200)
	d.do("GET", "/nowhere?notification", "").want(t, "no bucket", 404, "NoSuchBucket", "", "BucketName", "nowhere")
	for _, rule := range []string{"", "<Name>prefix</Name>", "<Value>test</Value>"} {
		put(queue(arn, filter(rule))).want(t, rule, 400, "MalformedXML", malformed)
	}
	put(queue(arn, filter("<Name>INVALID</Name><Value>x</Value>"))).want(t, "filter", 400, "InvalidArgument", "filter rule name must be either prefix or suffix", "ArgumentName", "FilterRule.Name", "ArgumentValue", "INVALID")
	put(queue(arn, "<Event>s3:Nothing</Event>")).want(t, "event", 400, "InvalidArgument", "A specified event is not supported for notifications", "ArgumentName", "Event", "ArgumentValue", "s3:Nothing")
	for _, h := range [][]string{nil, skip} {
		put(queue("invalid-queue", ""), h...).want(t, "arn", 400, "InvalidArgument", "The ARN could not be parsed", "ArgumentName", "Queue", "ArgumentValue", "invalid-queue")
		put(queue(arn, "")+queue("invalid_2", ""), h...).want(t, "arn", 400, "InvalidArgument", "The ARN could not be parsed", "ArgumentName", "Queue", "ArgumentValue", "invalid_2")
		put("<TopicConfiguration><Topic>invalid-topic</Topic><Event>s3:ObjectCreated:*</Event></TopicConfiguration>", h...).
			want(t, "arn", 400, "InvalidArgument", "The ARN could not be parsed", "ArgumentName", "Topic", "ArgumentValue", "invalid-topic")
		put("<CloudFunctionConfiguration><CloudFunction>invalid</CloudFunction><Event>s3:ObjectCreated:*</Event></CloudFunctionConfiguration>", h...).
			want(t, "arn", 400, "InvalidArgument", "The ARN could not be parsed", "ArgumentName", "CloudFunction", "ArgumentValue", "invalid")
	}
	const unreachable = "Unable to validate the following destination configurations"
	put(queue(arn, "")).want(t, "no queue", 400, "InvalidArgument", unreachable, "ArgumentName1", arn, "ArgumentValue1", "The destination queue does not exist")
	put(queue(arn, "")+queue(arn+"-2", "")).want(t, "no queues", 400, "InvalidArgument", unreachable,
		"ArgumentName1", arn, "ArgumentValue1", "The destination queue does not exist", "ArgumentName2", arn+"-2", "ArgumentValue2", "The destination queue does not exist")
	const function = "arn:aws:lambda:us-east-1:000000000000:function:my-lambda"
	put("<CloudFunctionConfiguration><CloudFunction>"+function+"</CloudFunction><Event>s3:ObjectCreated:*</Event></CloudFunctionConfiguration>").want(t, "no function", 400, "InvalidArgument", unreachable,
		"ArgumentName1", function+", null", "ArgumentValue1", "Not authorized to invoke function ["+function+"]")
	put("<EventBridgeConfiguration/>").want(t, "event bridge", 501, "NotImplemented", "")
	d.kept("/bucket?notification", root, "")

	put(queue(arn, filter("<Name>prefix</Name><Value>a/</Value>")), skip...).ok(t, "skip", 200)
	d.kept("/bucket?notification", root, queue(arn, filter("<Name>Prefix</Name><Value>a/</Value>")))
	put("<QueueConfiguration><Queue>"+arn+"</Queue><Event>s3:ObjectRemoved:*</Event></QueueConfiguration>", skip...).ok(t, "skip", 200)
	if a := d.do("GET", "/bucket?notification", ""); len(element(a.body, "Id")) < 16 {
		t.Errorf("no id was made: %v", a)
	}
	put("").ok(t, "empty", 200)
	d.kept("/bucket?notification", root, "")
}
