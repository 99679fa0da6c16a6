export declare const cert: string;
export declare const key: string;
