import type { EchoReply, EchoRequest } from './gen/millrace/echo/v1/echo.js';

export declare function partsOf(request: EchoRequest): EchoReply[];
