// A validator client in Java: TLS 1.2 only, no redirects, as Teku does it. Run as a single file: java Signer.java ...
// arguments: URL, key store (PKCS#12), its password, CA certificates (PEM), body (file). Prints status and body.

import java.io.InputStream;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyStore;
import java.security.cert.Certificate;
import java.security.cert.CertificateFactory;
import java.time.Duration;
import javax.net.ssl.KeyManagerFactory;
import javax.net.ssl.SSLContext;
import javax.net.ssl.SSLParameters;
import javax.net.ssl.TrustManagerFactory;

public class Signer {
    public static void main(String[] arguments) throws Exception {
        HttpClient client = HttpClient.newBuilder()
            .sslContext(context(arguments[1], arguments[2].toCharArray(), arguments[3]))
            .sslParameters(onlyTls12())
            .followRedirects(HttpClient.Redirect.NEVER)
            .connectTimeout(Duration.ofSeconds(60))
            .build();
        HttpRequest request = HttpRequest.newBuilder(URI.create(arguments[0]))
            .header("Content-Type", "application/json")
            .header("Accept", "application/json")
            .timeout(Duration.ofSeconds(60))
            .POST(HttpRequest.BodyPublishers.ofFile(Path.of(arguments[4])))
            .build();
        HttpResponse<String> response = client.send(request, HttpResponse.BodyHandlers.ofString());
        System.out.println(response.sslSession().orElseThrow().getProtocol());
        System.out.println(response.statusCode());
        System.out.println(response.body());
    }

    private static SSLParameters onlyTls12() {
        SSLParameters parameters = new SSLParameters();
        parameters.setProtocols(new String[] {"TLSv1.2"});
        return parameters;
    }

    private static SSLContext context(String keyStore, char[] password, String authorities) throws Exception {
        KeyStore own = KeyStore.getInstance("PKCS12");
        try (InputStream file = Files.newInputStream(Path.of(keyStore))) {
            own.load(file, password);
        }
        KeyManagerFactory keys = KeyManagerFactory.getInstance(KeyManagerFactory.getDefaultAlgorithm());
        keys.init(own, password);
        KeyStore believed = KeyStore.getInstance("PKCS12");
        believed.load(null, null);
        try (InputStream file = Files.newInputStream(Path.of(authorities))) {
            int number = 0;
            for (Certificate certificate : CertificateFactory.getInstance("X.509").generateCertificates(file)) {
                believed.setCertificateEntry("ca" + number++, certificate);
            }
        }
        TrustManagerFactory trust = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
        trust.init(believed);
        SSLContext context = SSLContext.getInstance("TLS");
        context.init(keys.getKeyManagers(), trust.getTrustManagers(), null);
        return context;
    }
}
