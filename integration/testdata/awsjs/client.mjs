// Plays a user of the AWS SDK for JavaScript v3 against the endpoint of the
// environment that `coffer env` makes. Ends with 0 if all is as it should be.
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import {
  AbortMultipartUploadCommand, CopyObjectCommand, CreateBucketCommand, CreateMultipartUploadCommand, DeleteBucketCommand,
  DeleteObjectsCommand, GetObjectCommand, HeadObjectCommand, ListObjectVersionsCommand, paginateListObjectsV2, PutBucketVersioningCommand,
  PutObjectCommand, PutObjectTaggingCommand, GetObjectTaggingCommand, S3Client, UploadPartCommand,
} from '@aws-sdk/client-s3'
import { Upload } from '@aws-sdk/lib-storage'
import { createPresignedPost } from '@aws-sdk/s3-presigned-post'
import { getSignedUrl } from '@aws-sdk/s3-request-presigner'

const s3 = new S3Client({ forcePathStyle: true, maxAttempts: 1 }) // endpoint, region and credentials from the environment
const Bucket = 'box'
const send = (Command, input) => s3.send(new Command({ Bucket, ...input }))
const pattern = n => Buffer.from(Uint8Array.from({ length: n }, (_, i) => (i >> 16) ^ (i >> 8) ^ i))
const bytes = async out => Buffer.from(await out.Body.transformToByteArray())
const fails = async (name, promise) => assert.equal((await assert.rejects(promise, e => { fails.seen = e.name; return true }), fails.seen), name)

await send(CreateBucketCommand)
const key = Buffer.alloc(32, 7)
const customer = {
  SSECustomerAlgorithm: 'AES256', SSECustomerKey: key.toString('base64'), SSECustomerKeyMD5: createHash('md5').update(key).digest('base64'),
}
const modes = [{}, { ServerSideEncryption: 'AES256' }, { ServerSideEncryption: 'aws:kms' }, customer]
for (const [i, mode] of modes.entries()) {
  const read = mode === customer ? customer : {}
  for (const n of [0, 1, 70_000]) {
    const Key = `m${i}/${n}`
    await send(PutObjectCommand, { Key, Body: pattern(n), ContentType: 'text/x-test', Metadata: { colour: 'blue' }, ...mode })
    const got = await send(GetObjectCommand, { Key, ...read })
    assert.ok((await bytes(got)).equals(pattern(n)), Key)
    assert.equal(got.ContentType, 'text/x-test')
    assert.deepEqual(got.Metadata, { colour: 'blue' })
    const head = await send(HeadObjectCommand, { Key, ...read })
    assert.equal(head.ContentLength, n)
    assert.equal(head.ServerSideEncryption, mode === customer ? undefined : mode.ServerSideEncryption ?? 'AES256')
  }
  const Key = `m${i}/large`
  await new Upload({ client: s3, params: { Bucket, Key, Body: pattern(17 << 20), ...mode }, partSize: 5 << 20 }).done()
  const part = await send(GetObjectCommand, { Key, Range: 'bytes=5242870-5242900', ...read })
  assert.ok((await bytes(part)).equals(pattern(17 << 20).subarray(5242870, 5242901)), Key)
}
assert.ok(readFileSync(`${process.env.MOUNT}/box/m1/large`).equals(pattern(17 << 20)))

await send(CopyObjectCommand, { Key: 'copy', CopySource: 'box/m3/70000', CopySourceSSECustomerAlgorithm: 'AES256',
  CopySourceSSECustomerKey: customer.SSECustomerKey, CopySourceSSECustomerKeyMD5: customer.SSECustomerKeyMD5 })
assert.ok((await bytes(await send(GetObjectCommand, { Key: 'copy' }))).equals(pattern(70_000)))
await fails('NoSuchKey', send(GetObjectCommand, { Key: 'nothing' }))
await fails('PreconditionFailed', send(PutObjectCommand, { Key: 'copy', Body: 'x', IfNoneMatch: '*' }))

const { UploadId } = await send(CreateMultipartUploadCommand, { Key: 'aborted', ChecksumAlgorithm: 'CRC32C' })
await send(UploadPartCommand, { Key: 'aborted', UploadId, PartNumber: 1, Body: pattern(100), ChecksumAlgorithm: 'CRC32C' })
await send(AbortMultipartUploadCommand, { Key: 'aborted', UploadId })

await send(PutObjectTaggingCommand, { Key: 'copy', Tagging: { TagSet: [{ Key: 'a', Value: 'b' }] } })
assert.deepEqual((await send(GetObjectTaggingCommand, { Key: 'copy' })).TagSet, [{ Key: 'a', Value: 'b' }])

// Without the SDK: URLs and forms that it signed.
const got = await fetch(await getSignedUrl(s3, new GetObjectCommand({ Bucket, Key: 'm0/70000' }), { expiresIn: 60 }))
assert.ok(got.status === 200 && Buffer.from(await got.arrayBuffer()).equals(pattern(70_000)), `presigned GET: ${got.status}`)
const put = await fetch(await getSignedUrl(s3, new PutObjectCommand({ Bucket, Key: 'signed' }), { expiresIn: 60 }), { method: 'PUT', body: pattern(1000) })
assert.equal(put.status, 200, `presigned PUT: ${await put.text()}`)
const post = await createPresignedPost(s3, { Bucket, Key: 'posted/${filename}', Conditions: [['content-length-range', 1, 1 << 20], ['starts-with', '$key', 'posted/']], Expires: 60 })
const form = new FormData()
for (const [name, value] of Object.entries(post.fields)) form.append(name, value)
form.append('file', new Blob([pattern(5000)]), 'name.bin')
const posted = await fetch(post.url, { method: 'POST', body: form })
assert.equal(posted.status, 204, `POST form: ${await posted.text()}`)
assert.ok(readFileSync(`${process.env.MOUNT}/box/posted/name.bin`).equals(pattern(5000)))

await send(PutBucketVersioningCommand, { VersioningConfiguration: { Status: 'Enabled' } })
const one = await send(PutObjectCommand, { Key: 'versioned', Body: 'one' })
await send(PutObjectCommand, { Key: 'versioned', Body: 'two' })
assert.equal((await bytes(await send(GetObjectCommand, { Key: 'versioned', VersionId: one.VersionId }))).toString(), 'one')

let keys = 0
for await (const page of paginateListObjectsV2({ client: s3, pageSize: 7 }, { Bucket })) keys += page.Contents.length
assert.equal(keys, 4 * modes.length + 4)
const all = await send(ListObjectVersionsCommand)
const Objects = [...all.Versions, ...all.DeleteMarkers ?? []].map(v => ({ Key: v.Key, VersionId: v.VersionId }))
assert.equal(Objects.length, keys + 1)
const deleted = await send(DeleteObjectsCommand, { Delete: { Objects } })
assert.equal(deleted.Errors, undefined)
await send(DeleteBucketCommand)
