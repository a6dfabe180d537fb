/* Eclipse Paho's C client, MQTT 5, QoS 1, as a peer of dunlin.
 *
 *   paho sub HOST:PORT CLIENT_ID                      each payload a line on standard output; a session that is kept
 *   paho pub HOST:PORT COUNT INFLIGHT BYTES [CERTS]   prints the seconds from CONNECT to the last PUBACK
 *
 * On standard error: `session present 0` or 1, the library's version.
 */
#include <MQTTAsync.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static int connected, failed;
static long acked;

static void note(int *what) {
    pthread_mutex_lock(&lock);
    *what = 1;
    pthread_cond_signal(&changed);
    pthread_mutex_unlock(&lock);
}

static void on_connect(void *context, MQTTAsync_successData5 *response) {
    (void)context;
    fprintf(stderr, "session present %d\n", response->alt.connect.sessionPresent);
    note(&connected);
}

static void on_failure(void *context, MQTTAsync_failureData5 *response) {
    (void)context;
    fprintf(stderr, "failed: code %d, reason %d\n", response->code, response->reasonCode);
    note(&failed);
}

static void on_acked(void *context, MQTTAsync_successData5 *response) {
    (void)context;
    (void)response;
    pthread_mutex_lock(&lock);
    acked++;
    pthread_cond_signal(&changed);
    pthread_mutex_unlock(&lock);
}

static int on_message(void *context, char *topic, int topic_length, MQTTAsync_message *message) {
    (void)context;
    (void)topic_length;
    fwrite(message->payload, 1, (size_t)message->payloadlen, stdout);
    putchar('\n');
    fflush(stdout);
    MQTTAsync_freeMessage(&message);
    MQTTAsync_free(topic);
    return 1;
}

static MQTTAsync open_client(const char *at, const char *id, const char *certs, int inflight) {
    static char uri[64], ca[512], cert[512], key[512];
    MQTTAsync client;
    MQTTAsync_createOptions create = MQTTAsync_createOptions_initializer5;
    MQTTAsync_connectOptions connect = MQTTAsync_connectOptions_initializer5;
    MQTTAsync_SSLOptions ssl = MQTTAsync_SSLOptions_initializer;
    MQTTProperties properties = MQTTProperties_initializer;
    MQTTProperty expiry = {.identifier = MQTTPROPERTY_CODE_SESSION_EXPIRY_INTERVAL, .value.integer4 = 3600};
    snprintf(uri, sizeof uri, "%s://%s", certs ? "ssl" : "tcp", at);
    create.MQTTVersion = MQTTVERSION_5;
    if (MQTTAsync_createWithOptions(&client, uri, id, MQTTCLIENT_PERSISTENCE_NONE, NULL, &create) != MQTTASYNC_SUCCESS ||
        MQTTAsync_setCallbacks(client, NULL, NULL, on_message, NULL) != MQTTASYNC_SUCCESS)
        exit(1);
    MQTTProperties_add(&properties, &expiry);
    connect.cleanstart = 0;
    connect.keepAliveInterval = 20;
    connect.maxInflight = inflight;
    connect.connectProperties = &properties;
    connect.onSuccess5 = on_connect;
    connect.onFailure5 = on_failure;
    if (certs) {
        snprintf(ca, sizeof ca, "%s/ca.pem", certs);
        snprintf(cert, sizeof cert, "%s/agent.pem", certs);
        snprintf(key, sizeof key, "%s/agent.key", certs);
        ssl.trustStore = ca;
        ssl.keyStore = cert;
        ssl.privateKey = key;
        connect.ssl = &ssl;
    }
    if (MQTTAsync_connect(client, &connect) != MQTTASYNC_SUCCESS)
        exit(1);
    pthread_mutex_lock(&lock);
    while (!connected && !failed)
        pthread_cond_wait(&changed, &lock);
    pthread_mutex_unlock(&lock);
    if (failed)
        exit(1);
    return client;
}

static int subscribe(const char *at, const char *id) {
    sigset_t ends;
    int which;
    MQTTAsync_responseOptions response = MQTTAsync_responseOptions_initializer;
    sigemptyset(&ends);
    sigaddset(&ends, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &ends, NULL);
    MQTTAsync client = open_client(at, id, NULL, 100);
    response.onFailure5 = on_failure;
    if (MQTTAsync_subscribe(client, "#", 1, &response) != MQTTASYNC_SUCCESS)
        return 1;
    sigwait(&ends, &which);
    return failed;
}

static int publish(const char *at, long count, int inflight, int bytes, const char *certs) {
    struct timespec from, to;
    char *payload = malloc((size_t)bytes);
    if (!payload)
        return 1;
    memset(payload, 'x', (size_t)bytes);
    clock_gettime(CLOCK_MONOTONIC, &from);
    MQTTAsync client = open_client(at, "paho-c", certs, inflight);
    MQTTAsync_responseOptions response = MQTTAsync_responseOptions_initializer;
    response.onSuccess5 = on_acked;
    response.onFailure5 = on_failure;
    for (long sent = 0; sent < count; sent++) {
        pthread_mutex_lock(&lock);
        while (sent - acked >= inflight && !failed)
            pthread_cond_wait(&changed, &lock);
        pthread_mutex_unlock(&lock);
        if (failed || MQTTAsync_send(client, "bench/stream", bytes, payload, 1, 0, &response) != MQTTASYNC_SUCCESS)
            return 1;
    }
    pthread_mutex_lock(&lock);
    while (acked < count && !failed)
        pthread_cond_wait(&changed, &lock);
    pthread_mutex_unlock(&lock);
    clock_gettime(CLOCK_MONOTONIC, &to);
    printf("%.6f\n", (double)(to.tv_sec - from.tv_sec) + (double)(to.tv_nsec - from.tv_nsec) / 1e9);
    free(payload);
    return failed;
}

int main(int argc, char **argv) {
    MQTTAsync_init_options init = MQTTAsync_init_options_initializer;
    init.do_openssl_init = 1;
    MQTTAsync_global_init(&init);
    MQTTAsync_nameValue *info = MQTTAsync_getVersionInfo();
    for (; info->name; info++)
        if (strcmp(info->name, "Version") == 0)
            fprintf(stderr, "paho C %s\n", info->value);
    if (argc == 4 && strcmp(argv[1], "sub") == 0)
        return subscribe(argv[2], argv[3]);
    if ((argc == 6 || argc == 7) && strcmp(argv[1], "pub") == 0)
        return publish(argv[2], atol(argv[3]), atoi(argv[4]), atoi(argv[5]), argc == 7 ? argv[6] : NULL);
    fprintf(stderr, "paho sub HOST:PORT CLIENT_ID | paho pub HOST:PORT COUNT INFLIGHT BYTES [CERTS]\n");
    return 64;
}
