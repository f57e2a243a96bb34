//! What browsers see.

use serde_json::json;

use crate::cluster::{Shape, both_shapes};

both_shapes!(
    pages_are_small_scriptless_and_not_indexed,
    a_deleted_code_and_an_absent_one_cannot_be_told_apart,
    a_qr_code_reads_back_as_the_short_url,
);

async fn pages_are_small_scriptless_and_not_indexed(shape: Shape) {
    let cluster = shape.cluster().start();
    let client = cluster.client();
    client.create(&json!({"target": "https://example.com/a?x=<script>", "alias": "seen", "title": "A <b>title</b>"})).await;
    client.create(&json!({"target": "https://example.com/a", "alias": "over", "expires_at": "2020-01-01T00:00:00Z"})).await;
    let browser = cluster.anonymous().with("accept", "text/html,application/xhtml+xml,*/*;q=0.8");
    for (path, status) in [("/", 200), ("/missing", 404), ("/over", 410), ("/seen+", 200)] {
        let page = browser.get(path).await.expect(status);
        assert!(page.header("content-type").starts_with("text/html"), "{path}");
        assert!(page.body.len() < 10_000, "{path}: {} bytes", page.body.len());
        let text = page.text();
        assert!(!text.contains("<script") && text.contains("viewport"), "{path}");
        assert!(page.header("content-security-policy").contains("default-src 'none'"), "{path}");
        assert_eq!(page.header("x-content-type-options"), "nosniff");
    }
    assert_eq!(cluster.anonymous().get("/missing").await.expect(404).problem(), "not_found");
    let missing = browser.get("/missing").await;
    assert!(missing.header("vary").to_lowercase().contains("accept") && missing.header("cache-control").contains("no-store"));
    assert!(missing.header("x-robots-tag").contains("noindex") || missing.text().contains("noindex"));
    let preview = browser.get("/seen+").await.text();
    assert!(preview.contains("example.com") && preview.contains("A &lt;b&gt;title") && !preview.contains("<b>title"));
    browser.get("/robots.txt").await.expect(200);
    assert!(browser.get("/favicon.ico").await.status.as_u16() < 300);
}

async fn a_deleted_code_and_an_absent_one_cannot_be_told_apart(shape: Shape) {
    let cluster = shape.cluster().start();
    let client = cluster.client();
    let link = client.create(&json!({"target": "https://example.com/a"})).await;
    let code = link["code"].as_str().expect("a code");
    client.delete(&format!("/api/v1/links/{}", link["id"].as_str().expect("an id"))).await.expect(204);
    let browser = cluster.anonymous().with("accept", "text/html");
    let (deleted, absent) = (browser.get(&format!("/{code}")).await, browser.get("/Zz9Zz9Z").await);
    assert_eq!((deleted.status, absent.status), (http::StatusCode::NOT_FOUND, http::StatusCode::NOT_FOUND));
    let without_id =
        |reply: &crate::client::Reply| reply.text().replace(reply.header("x-request-id"), "").replace(code, "").replace("Zz9Zz9Z", "");
    assert_eq!(without_id(&deleted), without_id(&absent));
    let names = |reply: &crate::client::Reply| reply.headers.keys().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(names(&deleted), names(&absent));
}

async fn a_qr_code_reads_back_as_the_short_url(shape: Shape) {
    let cluster = shape.cluster().start();
    let link = cluster.client().create(&json!({"target": "https://example.com/a", "alias": "scan-me"})).await;
    let png = cluster.anonymous().get("/scan-me.qr?format=png&size=400").await.expect(200);
    assert_eq!(png.header("content-type"), "image/png");
    let mut reader = png::Decoder::new(std::io::Cursor::new(png.body.to_vec())).read_info().expect("a png");
    let mut pixels = vec![0; reader.output_buffer_size().expect("a size")];
    let info = reader.next_frame(&mut pixels).expect("a frame");
    let (width, height) = (info.width as usize, info.height as usize);
    let (samples, depth) = (info.color_type.samples(), info.bit_depth as usize);
    let grey = |x: usize, y: usize| {
        let line = &pixels[y * info.line_size..];
        if depth == 8 { line[x * samples] } else { 255 * (line[x * depth / 8] >> (7 - x % 8) & 1) }
    };
    let mut image = rqrr::PreparedImage::prepare_from_greyscale(width, height, grey);
    let (_, text) = image.detect_grids().first().expect("a QR code").decode().expect("readable");
    assert_eq!(text, link["short_url"].as_str().expect("a URL"));
    let svg = cluster.anonymous().get("/scan-me.qr?format=svg").await.expect(200);
    assert!(svg.header("content-type").starts_with("image/svg+xml") && svg.text().contains("<svg"));
    cluster.anonymous().get("/nobody.qr").await.expect(404);
    assert!(cluster.anonymous().get("/scan-me.qr?size=99999999").await.status.is_client_error());
}
