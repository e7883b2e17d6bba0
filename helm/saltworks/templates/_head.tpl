{{/* The head: Ray's control, the driver, and beside them the autoscaler. (dict "root" $ "name" name-of-the-RayJob). */}}
{{- define "saltworks.head" -}}
{{- $ := .root -}}
{{- $scales := include "saltworks.autoscales" $ -}}
rayStartParams:
  object-store-memory: {{ include "saltworks.objectStore" $.Values.head.shmSize | quote }}
  dashboard-host: 0.0.0.0
  num-cpus: {{ $.Values.head.rayCpus | int | quote }}
  num-gpus: "0"
template:
  metadata:
    labels:
      {{- include "saltworks.labels" (dict "root" $ "part" "head") | nindent 6 }}
    {{- include "saltworks.podAnnotations" (dict "root" $ "own" $.Values.head.annotations) | nindent 4 }}
  spec:
    {{- include "saltworks.podBasics" $ | nindent 4 }}
    serviceAccountName: {{ include "saltworks.account" (dict "root" $ "part" "head") }}
    terminationGracePeriodSeconds: {{ add $.Values.deadlines.stopGrace 15 }}
    {{- with $.Values.priorityClassName }}
    priorityClassName: {{ . }}
    {{- end }}
    {{- with $.Values.head.nodeSelector }}
    nodeSelector:
      {{- toYaml . | nindent 6 }}
    {{- end }}
    {{- with $.Values.head.tolerations }}
    tolerations:
      {{- toYaml . | nindent 6 }}
    {{- end }}
    affinity:
      {{- with $.Values.head.affinity }}
      {{- toYaml . | nindent 6 }}
      {{- else }}
      nodeAffinity:
        requiredDuringSchedulingIgnoredDuringExecution:
          nodeSelectorTerms:
            - matchExpressions:
                {{- range $key, $value := include "saltworks.spotNodes" $ | fromYaml }}
                - {key: {{ $key }}, operator: NotIn, values: [{{ $value | quote }}]}
                {{- end }}
      {{- end }}
    containers:
      - name: ray-head
        {{- include "saltworks.imageFields" $ | nindent 8 }}
        ports:
          - {name: gcs-server, containerPort: 6379}
          - {name: dashboard, containerPort: 8265}
          - {name: client, containerPort: 10001}
          - {name: metrics, containerPort: 8080}
        env:
          {{- include "saltworks.env" $ | nindent 10 }}
          - {name: SALTWORKS_SUBMISSION, value: {{ .name | quote }}}
          - {name: RAY_JOB_STOP_WAIT_TIME_S, value: {{ add $.Values.deadlines.stopGrace 5 | quote }}}
        envFrom:
          {{- include "saltworks.envFrom" $ | nindent 10 }}
        {{- include "saltworks.lifecycle" $ | nindent 8 }}
        resources:
          {{- toYaml $.Values.head.resources | nindent 10 }}
        securityContext:
          {{- include "saltworks.security" $ | nindent 10 }}
        volumeMounts:
          {{- include "saltworks.mounts" $ | nindent 10 }}
          - {name: shm, mountPath: /dev/shm}
    volumes:
      {{- include "saltworks.volumes" (dict "root" $ "tmp" $.Values.head.tmpSize "resources" $.Values.head.resources) | nindent 6 }}
      {{- include "saltworks.shm" $.Values.head.shmSize | nindent 6 }}
      {{- if $scales }}
      - name: autoscaler-tmp
        emptyDir: {sizeLimit: 256Mi}
      - name: autoscaler-token
        projected:
          defaultMode: 0440
          sources:
            - serviceAccountToken: {path: token, expirationSeconds: 3600}
            - configMap: {name: kube-root-ca.crt, items: [{key: ca.crt, path: ca.crt}]}
            - downwardAPI: {items: [{path: namespace, fieldRef: {apiVersion: v1, fieldPath: metadata.namespace}}]}
      {{- end }}
{{- end -}}

{{/* The autoscaler alone gets a token for the API: the operator gives it a Role that may patch pods and RayClusters. */}}
{{- define "saltworks.autoscaler" -}}
version: v2
upscalingMode: Default
idleTimeoutSeconds: {{ .Values.autoscaler.idleTimeoutSeconds | int }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
env:
  - {name: HOME, value: /tmp}
  - {name: RAY_USAGE_STATS_ENABLED, value: "0"}
resources:
  {{- toYaml .Values.autoscaler.resources | nindent 2 }}
securityContext:
  {{- include "saltworks.security" . | nindent 2 }}
volumeMounts:
  - {name: autoscaler-tmp, mountPath: /tmp}
  - {name: autoscaler-token, mountPath: /var/run/secrets/kubernetes.io/serviceaccount, readOnly: true}
{{- end -}}
