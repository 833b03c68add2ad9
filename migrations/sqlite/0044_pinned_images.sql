-- An instance keeps the images of its template that it was made with, until it is moved.
ALTER TABLE instances ADD COLUMN images TEXT NOT NULL DEFAULT '{}';
ALTER TABLE instances ADD COLUMN good_images TEXT;
UPDATE instances SET images = (SELECT s.images FROM service_plans p JOIN services s ON s.id = p.service_id
  WHERE p.id = instances.plan_id);
UPDATE instances SET good_images = images WHERE good_digest IS NOT NULL;
