-- An instance keeps the size that its plan had when it came to it, until it is moved.
ALTER TABLE instances ADD COLUMN cpu_millis INTEGER NOT NULL DEFAULT 0;
ALTER TABLE instances ADD COLUMN memory_mib INTEGER NOT NULL DEFAULT 0;
ALTER TABLE instances ADD COLUMN storage_gib INTEGER NOT NULL DEFAULT 0;
ALTER TABLE instances ADD COLUMN replicas INTEGER NOT NULL DEFAULT 0;
ALTER TABLE instances ADD COLUMN good_sizes TEXT;
UPDATE instances SET (cpu_millis, memory_mib, storage_gib, replicas) =
  (SELECT p.cpu_millis, p.memory_mib, p.storage_gib, p.replicas FROM service_plans p WHERE p.id = instances.plan_id);
UPDATE instances SET good_sizes = json_object('cpuMillis', cpu_millis, 'memoryMib', memory_mib, 'storageGib', storage_gib, 'replicas', replicas)
  WHERE good_digest IS NOT NULL;
