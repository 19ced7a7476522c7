-- Whose usage an item bills: customer and meter, by what was put in force.
SELECT DISTINCT customer, meter FROM bindings WHERE item = {item:String}
